"""What the traffic path keeps between batches, as a protocol: a zone's windows, versioned records, and an outbox.

Everything is written under a condition on its version, so a writer who did not see the newest one is told instead of
overwriting it. Errors: StateUnavailable; what other errors say is wrong for good.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

import msgspec

from city_platform.errors import TransientError

WINDOW_MS = 10_000
BUCKETS = 16  # zones are kept and decided on in as many parts
KEEP_MS = 8 * 86_400_000  # longer than a stream holds records: a replay never meets a window that is gone

Key: TypeAlias = tuple[str, int]  # a zone and the start of one of its windows, epoch ms


def bucket(zone: str) -> int:
    """The part a zone is in, the same everywhere."""
    return zlib.crc32(zone.encode()) % BUCKETS


class StateUnavailable(TransientError):
    """The store did not answer, or answered that it is busy."""


class Window(msgspec.Struct, frozen=True):
    """One zone's ten seconds from `start_ms`: sums and maxima over its readings, each counted once.

    Sums: `vehicle_speed` of vehicles times tenths of km/h, `pace` of vehicles divided by speed (see windows.PACE), for
    the harmonic mean. `sensors` holds each sensor's seen readings and latest values, `strays` the readings seen out of
    the expected order (`windows.unpack_sensors`, `windows.unpack_strays`). `revision` counts changes after the window
    had closed.
    """

    zone: str
    start_ms: int
    version: int
    revision: int
    readings: int
    vehicles: int
    vehicle_speed: int
    pace: int
    occupancy: int
    occupancy_readings: int
    index: int
    index_readings: int
    max_vehicles: int
    max_speed_x10: int
    max_occupancy_x1000: int
    max_index_x1000: int
    active: int  # sensors that were heard
    sensors: bytes
    strays: bytes
    updated_ms: int
    ttl: int  # epoch seconds after which the store may forget it

    @property
    def key(self) -> Key:
        return self.zone, self.start_ms


class Conflict(msgspec.Struct, frozen=True):
    """Somebody else wrote first, or the window is gone: what stands there now."""

    current: Window | None


class Record(msgspec.Struct, frozen=True):
    """A small versioned thing beside the windows: a zone's level, sensors' health. Versions count from 1."""

    key: str
    version: int
    body: bytes


class Event(msgspec.Struct, frozen=True):
    """Something to be told, once for each id: written with the change it tells of, published from the outbox."""

    id: str
    at_ms: int
    body: bytes


class VersionConflict(TransientError):
    """A record has another version than expected; read it again."""


class TrafficState(Protocol):
    """Errors: StateUnavailable, VersionConflict."""

    def put(self, windows: Sequence[Window]) -> Sequence[Conflict | StateUnavailable | None]:
        """Writes each window where the stored one has the version before; 1 is new. Says for each: None written,
        Conflict with what stands there, StateUnavailable (which may have been written all the same).
        """
        ...

    def get(self, keys: Sequence[Key]) -> Mapping[Key, Window]:
        """The windows that are there, by zone and start."""
        ...

    def windows(self, zone: str, start_ms: int, end_ms: int) -> Sequence[Window]:
        """A zone's windows that start in [start_ms, end_ms), in order."""
        ...

    def city(self, start_ms: int, parts: Sequence[int] = range(BUCKETS)) -> Sequence[Window]:
        """The windows that start then of all zones in these buckets, by zone; one query a bucket at the most."""
        ...

    def record(self, key: str) -> Record | None: ...

    def commit(self, records: Sequence[Record], events: Sequence[Event] = ()) -> None:
        """Writes all records and events or none. Each record's version is the stored one's plus 1, or VersionConflict.
        An event whose id has been in the outbox before is not put there again.
        """
        ...

    def outbox(self, limit: int) -> Sequence[Event]:
        """Events not published yet, oldest first."""
        ...

    def published(self, events: Sequence[Event]) -> None:
        """Takes events out of the outbox; their ids stay known for as long as windows are kept."""
        ...
