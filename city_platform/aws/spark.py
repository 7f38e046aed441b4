"""Spark sessions on EMR Serverless: begun when the first partition of many rows comes, ended with the process.

https://docs.aws.amazon.com/emr/latest/EMR-Serverless-UserGuide/spark-connect.html. An application starts by itself and
stops by itself, so nothing is paid while nothing is computed; should a process die, its session ends by being idle.
"""

import atexit
import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import boto3
from botocore.config import Config

from city_platform.aws.client_errors import typed
from city_platform.engines.session import EngineUnavailable
from city_platform.errors import PermanentError

_IDLE_MINUTES = 15
_LONGEST_START_S = 600
_PAUSE_S = 5
_OVER = {"FAILED", "TERMINATING", "TERMINATED"}


class SparkRefused(PermanentError):
    """EMR Serverless does not let this process compute there: no right, no such application, or a wrong role."""


def emr_serverless_client(region: str, endpoint_url: str | None = None) -> Any:
    """A client whose calls end: 3 s to connect, 20 s to answer, at most five attempts with adaptive pauses."""
    settings = Config(connect_timeout=3, read_timeout=20, retries={"mode": "adaptive", "total_max_attempts": 5})
    return boto3.client("emr-serverless", region_name=region, endpoint_url=endpoint_url, config=settings)


class EmrServerlessSession:
    """One session of an application, shared by all that this process computes."""

    def __init__(
        self,
        application: str,
        role: str,
        connect: Callable[[], Any],
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """`role` is the ARN of what Spark may read as; `connect` is called once, when a session is needed."""
        self._application, self._role, self._connect, self._pause = application, role, connect, pause
        self._client: Any = None
        self._session: str | None = None
        self._beginning = threading.Lock()

    def address(self) -> str:
        """Where the session is, with a token that ends within the hour. Raises EngineUnavailable, SparkRefused."""
        with self._beginning, typed("EMR Serverless", EngineUnavailable, SparkRefused):
            if self._client is None:
                self._client = self._connect()
            if self._session is None or self._state() in _OVER:
                self._session = self._begun()
            found = self._client.get_session_endpoint(applicationId=self._application, sessionId=self._session)
        server = found["endpoint"].removeprefix("https://").rstrip("/")
        return f"sc://{server}:443/;use_ssl=true;x-aws-proxy-auth={found['authToken']}"

    def _begun(self) -> str:
        begun = self._client.start_session(
            applicationId=self._application,
            clientToken=str(uuid4()),
            executionRoleArn=self._role,
            idleTimeoutMinutes=_IDLE_MINUTES,
            name="city-platform",
        )
        self._session = str(begun["sessionId"])
        atexit.register(self.end)
        for _ in range(_LONGEST_START_S // _PAUSE_S):
            state = self._state()
            if state in {"STARTED", "IDLE", "BUSY"}:
                return self._session
            if state in _OVER:
                break
            self._pause(_PAUSE_S)
        session, self._session = self._session, None
        raise EngineUnavailable(f"the Spark session {session} of {self._application} did not start: run it again")

    def _state(self) -> str:
        found = self._client.get_session(applicationId=self._application, sessionId=self._session)
        return str(found["session"]["state"])

    def end(self) -> None:
        """Ends the session, if there is one."""
        session, self._session = self._session, None
        if session is not None:
            with typed("EMR Serverless", EngineUnavailable, SparkRefused):
                self._client.terminate_session(applicationId=self._application, sessionId=session)
