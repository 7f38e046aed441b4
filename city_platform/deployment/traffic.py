"""The parts of the traffic path, as the deployment has them: the registry, the stream, the state."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from city_platform.aws.settings import TRAFFIC_STREAM, TRAFFIC_TABLE
from city_platform.deployment import deployment
from city_platform.traffic.registry import Registry, registry_of

if TYPE_CHECKING:
    from city_platform.local.traffic_state import SqliteTrafficState
    from city_platform.local.traffic_stream import SqliteEventStream
    from city_platform.traffic.dead_letters import StoredDeadLetters
    from city_platform.traffic.state import TrafficState
    from city_platform.traffic.stream import EventStream


def open_registry(environ: Mapping[str, str] = os.environ) -> Registry:
    """The city's sensors. Raises IncompleteSettings where the environment says something that is no registry."""
    from city_platform.aws.settings import IncompleteSettings

    try:
        return registry_of(environ)
    except ValueError as error:
        raise IncompleteSettings(str(error)) from error


def open_state(home: Path, environ: Mapping[str, str] = os.environ, *, durable: bool = True) -> "TrafficState":
    """The state of traffic: a file below `home`, or the DynamoDB table that the environment names.

    Raises IncompleteSettings. `durable` as SqliteTrafficState has it.
    """
    if deployment(environ) == "aws":
        from city_platform.aws.settings import AwsSettings, IncompleteSettings
        from city_platform.aws.traffic_state import DynamoTrafficState, dynamodb_client

        settings = AwsSettings.of(environ)
        if not environ.get(TRAFFIC_TABLE):
            raise IncompleteSettings(
                f"a deployment on AWS needs in its environment: {TRAFFIC_TABLE} (a DynamoDB table)"
            )
        return DynamoTrafficState(environ[TRAFFIC_TABLE], lambda: dynamodb_client(settings.region, settings.endpoint))
    return local_state(home, durable=durable)


def find_state(home: Path, environ: Mapping[str, str] = os.environ) -> "TrafficState | None":
    """The state for who only reads: None where no traffic has been counted, and reading must not make it look so.

    Raises IncompleteSettings.
    """
    there = bool(environ.get(TRAFFIC_TABLE)) if deployment(environ) == "aws" else _state_file(home).exists()
    return open_state(home, environ, durable=False) if there else None


def local_state(home: Path, *, durable: bool = True) -> "SqliteTrafficState":
    """This machine's state, which is told to forget, too."""
    from city_platform.local.traffic_state import SqliteTrafficState

    return SqliteTrafficState(_state_file(home), durable)


def open_stream(home: Path, environ: Mapping[str, str] = os.environ) -> "EventStream":
    """The stream of frames: a file below `home`, or the Kinesis stream that the environment names.

    Raises IncompleteSettings. Opens no connection.
    """
    if deployment(environ) == "aws":
        from city_platform.aws.settings import AwsSettings, IncompleteSettings
        from city_platform.aws.traffic_stream import KinesisEventStream, kinesis_client

        settings = AwsSettings.of(environ)
        if not environ.get(TRAFFIC_STREAM):
            raise IncompleteSettings(
                f"a deployment on AWS needs in its environment: {TRAFFIC_STREAM} (a stream of Kinesis Data Streams)"
            )
        return KinesisEventStream(environ[TRAFFIC_STREAM], lambda: kinesis_client(settings.region, settings.endpoint))
    return local_stream(home)


def local_stream(home: Path) -> "SqliteEventStream":
    """This machine's stream, which keeps its readers' places, too."""
    from city_platform.local.traffic_stream import SqliteEventStream

    return SqliteEventStream(home / "traffic" / "stream.sqlite")


def local_letters(home: Path) -> "StoredDeadLetters":
    """Where this machine keeps what it refused: the lake's store, opened without the lake's engine."""
    from city_platform.local.store import LocalObjectStore
    from city_platform.traffic.dead_letters import StoredDeadLetters

    return StoredDeadLetters(LocalObjectStore(home / "lake"))


def _state_file(home: Path) -> Path:
    return home / "traffic" / "state.sqlite"
