"""How far what was shown live is from what the lake has: a zone's hour counted twice, from different sources.

The live windows take nothing that comes more than a minute after they closed; the lake takes everything. So live is
what is missing, and by how much is said as |live - batch| / batch.
"""

from dataclasses import dataclass, field
from math import inf

from city_platform.traffic.state import Window
from city_platform.traffic.windows import PACE

WARN_SHARE, ERROR_SHARE = 0.005, 0.02
MEASURES = ("readings", "vehicles", "speed")


@dataclass(slots=True)
class Sums:
    """What a zone's windows of an hour add up to."""

    readings: int = 0
    vehicles: int = 0
    pace: int = 0  # see windows.PACE

    def add(self, readings: int, vehicles: int, pace: int) -> None:
        self.readings += readings
        self.vehicles += vehicles
        self.pace += pace

    @property
    def speed_kmh(self) -> float | None:
        """Harmonic mean speed; None without a vehicle."""
        return PACE * self.vehicles / self.pace / 10 if self.pace else None


@dataclass(slots=True)
class ZoneHour:
    """A zone's hour, live and from the lake; `differing` of its windows do not say the same in everything."""

    zone: str
    live: Sums = field(default_factory=Sums)
    batch: Sums = field(default_factory=Sums)
    windows: int = 0
    differing: int = 0

    @property
    def shares(self) -> tuple[float, float, float]:
        """|live - batch| / batch of each of MEASURES; infinite where only live has anything."""
        live, batch = self.live, self.batch
        return (
            _share(live.readings, batch.readings),
            _share(live.vehicles, batch.vehicles),
            _share(live.speed_kmh or 0.0, batch.speed_kmh or 0.0),
        )

    @property
    def worst(self) -> float:
        """The largest of the shares."""
        return max(self.shares)


@dataclass(frozen=True, slots=True)
class Figures:
    """What both sides must say of a zone's window, so that they can be compared."""

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
    active: int

    @classmethod
    def of(cls, window: Window) -> "Figures":
        return cls(*(getattr(window, name) for name in cls.__slots__))


class Comparison:
    """Takes windows of both sides in any order of their zones, one time after the other."""

    def __init__(self) -> None:
        self._zones: dict[str, ZoneHour] = {}

    def add(self, live: dict[str, Figures], batch: dict[str, Figures]) -> None:
        """The windows of all zones that begin at one time."""
        for zone in live.keys() | batch.keys():
            hour = self._zones.setdefault(zone, ZoneHour(zone))
            mine, theirs = live.get(zone), batch.get(zone)
            for sums, figures in ((hour.live, mine), (hour.batch, theirs)):
                if figures is not None:
                    sums.add(figures.readings, figures.vehicles, figures.pace)
            hour.windows += 1
            hour.differing += mine != theirs

    def zones(self) -> list[ZoneHour]:
        """All zones by name."""
        return [hour for _, hour in sorted(self._zones.items())]


def _share(live: float, batch: float) -> float:
    if live == batch:
        return 0.0
    return abs(live - batch) / batch if batch else inf
