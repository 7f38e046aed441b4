"""Requests to the portal: tried again where that may help, within a deadline and within the portal's quota."""

import json
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import urlsplit

import httpx2

from city_platform.contracts.model import PortalSource
from city_platform.portal.errors import (
    DeadlinePassed,
    PortalRefused,
    PortalUnavailable,
    QuotaExhausted,
    RangeRefused,
    TooLarge,
    UnexpectedAnswer,
)
from city_platform.portal.quota import exhausted_until, refused_until
from city_platform.portal.settings import PortalSettings
from city_platform.portal.state import PortalState
from city_platform.ports import Clock

MAX_REDIRECTS = 5
MAX_ANSWER_BYTES = 8 << 20  # of a JSON answer; the largest recorded one has 20 kB
FIRST_BACKOFF, LONGEST_BACKOFF = 1.0, 60.0  # seconds
_SHOWN = 200  # characters of the portal's own words in a message
_QUOTA_USED_UP = 429
_NO_SUCH_RANGE = 416
_PASSING = {408, 425}  # beside all of 5xx: asked again these may be answered
_WHOLE_OR_PART = {200, 206}

_Result = TypeVar("_Result")


def silent(_message: str) -> None:
    """Says nothing."""


class PortalClient:
    """Speaks HTTP/1.1 with one portal or several. Not for use by two threads at once.

    `notice` hears why the client waits and how long. `sleep` takes seconds; `jitter` gives numbers from 0 to 1.
    """

    def __init__(
        self,
        settings: PortalSettings,
        clock: Clock,
        *,
        notice: Callable[[str], None] = silent,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self._notice, self._sleep, self._jitter = notice, sleep, jitter
        self._welcome: dict[str, datetime] = {}  # portal -> when its next request may be sent
        # A portal's server was seen to send header lines that strict HTTP/2 clients refuse.
        self._http = httpx2.Client(
            http1=True,
            http2=False,
            follow_redirects=True,
            max_redirects=MAX_REDIRECTS,
            timeout=httpx2.Timeout(settings.read_timeout, connect=settings.connect_timeout),
            headers={"user-agent": "city-platform", "accept-encoding": "gzip"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def state(self, source: PortalSource, until: datetime | None = None) -> PortalState:
        """What the portal says of the source's dataset; gives up at `until`, by default after the deadline.

        Raises PortalRefused, UnexpectedAnswer, PortalUnavailable.
        """
        url = self.settings.address(source.location)
        return PortalState.of(source.portal_id, self.persist(lambda: self._json(url), until or self.deadline()))

    def deadline(self) -> datetime:
        """When work that begins now has to be done."""
        return self.clock.now() + timedelta(seconds=self.settings.deadline)

    def persist(
        self,
        work: Callable[[], _Result],
        until: datetime,
        again: type[PortalUnavailable] | tuple[type[PortalUnavailable], ...] = PortalUnavailable,
    ) -> _Result:
        """The result of `work`, tried again with growing waits while it fails with one of the errors `again`.

        A used-up quota is waited for where it is known when it ends, and does not count as an attempt.
        """
        attempt = 0
        waited = 0.0  # for the quota
        while True:
            self.check(until)
            try:
                return work()
            except PortalUnavailable as error:
                if isinstance(error, DeadlinePassed) or not isinstance(error, again):
                    raise
                if isinstance(error, QuotaExhausted):
                    seconds = self._until_welcome(error)
                    waited += seconds
                    if waited > self.settings.quota_wait:
                        raise
                else:
                    attempt += 1
                    if attempt >= self.settings.attempts:
                        raise
                    longest = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** (attempt - 1))
                    seconds = longest * (0.5 + self._jitter() / 2)
                if self.clock.now() + timedelta(seconds=seconds) >= until:
                    raise
                self._notice(f"{error}; waiting {seconds:,.0f} s")
                self._sleep(seconds)

    def check(self, until: datetime) -> None:
        """Raises DeadlinePassed from `until` on."""
        if self.clock.now() >= until:
            raise DeadlinePassed(f"the portal had not answered in full by {until:%Y-%m-%d %H:%M:%S %Z}: try again")

    @contextmanager
    def answer(
        self, url: str, parameters: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[httpx2.Response]:
        """One GET; the body is still to be read. The one place where the transport's errors become the platform's."""
        portal = _origin(url)
        welcome = self._welcome.get(portal)
        if welcome is not None and welcome > self.clock.now():
            raise QuotaExhausted(portal, welcome)
        self._http.event_hooks = {"request": [lambda request: _stay(portal, str(request.url))]}
        try:
            with self._http.stream("GET", url, params=parameters, headers=headers) as response:
                until = exhausted_until(response.headers, self.clock.now())
                if until is not None:
                    self._welcome[portal] = until
                if response.status_code >= httpx2.codes.BAD_REQUEST:
                    raise self._refusal(portal, response)
                if response.status_code not in _WHOLE_OR_PART:
                    raise UnexpectedAnswer(f"{url} answers {response.status_code}, which is no answer to a request")
                yield response
        except httpx2.TooManyRedirects as error:
            raise UnexpectedAnswer(f"{url} leads in a circle: more than {MAX_REDIRECTS} redirects") from error
        except (httpx2.UnsupportedProtocol, httpx2.InvalidURL) as error:
            raise UnexpectedAnswer(f"{url} leads to an address that is none") from error
        except httpx2.TimeoutException as error:
            raise PortalUnavailable(f"{portal} did not answer in time ({type(error).__name__})") from error
        except httpx2.TransportError as error:
            raise PortalUnavailable(f"the connection to {portal} failed: {str(error)[:_SHOWN]}") from error

    def _until_welcome(self, error: QuotaExhausted) -> float:
        """Seconds until the quota starts again, one more for the clocks' difference; for ever where nobody knows."""
        return math.inf if error.reset is None else max(0.0, (error.reset - self.clock.now()).total_seconds()) + 1

    def _json(self, url: str) -> object:
        with self.answer(url) as response:
            body = _bounded(response)
            if body is None:
                raise TooLarge(f"{url} answers with more than {MAX_ANSWER_BYTES:,} bytes")
            try:
                return json.loads(body)
            except (ValueError, RecursionError) as error:
                # Maintenance pages come with status 200, too: worth another try.
                raise PortalUnavailable(f"{url} does not answer in JSON") from error

    def _refusal(self, portal: str, response: httpx2.Response) -> PortalRefused | PortalUnavailable:
        status = response.status_code
        said = _said(response)
        if status == _QUOTA_USED_UP:
            return QuotaExhausted(portal, refused_until(response.headers, said, self.clock.now()))
        if status == _NO_SUCH_RANGE:
            return RangeRefused(f"{portal} has no more bytes from there on")
        words = str(said.get("message") or said.get("error") or said.get("error_code") or "no reason given")[:_SHOWN]
        message = f"{response.request.url.copy_with(query=None)} answers {status}: {words}"
        passing = status >= httpx2.codes.INTERNAL_SERVER_ERROR or status in _PASSING
        return PortalUnavailable(message) if passing else PortalRefused(message)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _stay(portal: str, url: str) -> None:
    """A portal may move its datasets about, but not to somebody else's server, nor out of TLS."""
    if _origin(url) != portal:
        raise UnexpectedAnswer(
            f"{portal} leads to {_origin(url)}: if that is right, correct the address in contract.yaml"
        )


def _bounded(response: httpx2.Response) -> bytes | None:
    """The body, or None where it is larger than any answer should be."""
    body = bytearray()
    for piece in response.iter_bytes():
        body += piece
        if len(body) > MAX_ANSWER_BYTES:
            return None
    return bytes(body)


def _said(response: httpx2.Response) -> Mapping[str, object]:
    """The JSON object that comes with a refusal; empty where there is none."""
    try:
        body = json.loads(_bounded(response) or b"")
    except (ValueError, RecursionError, httpx2.DecodingError):
        return {}
    return body if isinstance(body, dict) else {}
