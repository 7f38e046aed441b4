"""What a zone's sums mean: mean speed, congestion index, travel time index, level of service.

What is shown and what is decided on are the same rounded numbers. Travel time indexes of roads with different free
flow cannot be compared with each other.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Literal, TypeAlias

import msgspec

from city_platform.traffic.windows import PACE

COVERAGE = 0.5  # share of the sensors that must have been heard; with less nothing is known of a zone
VEHICLES = 5  # and with fewer of these

Service: TypeAlias = Literal["A", "B", "C", "D", "E", "F"]
# Highway Capacity Manual, urban streets: travel speed over free flow must be above this for A, B, … E; F is the rest.
# Editions differ in the first one, 0.85 here and 0.80 elsewhere.
SERVICE: Sequence[tuple[Service, float]] = (("A", 0.85), ("B", 0.67), ("C", 0.50), ("D", 0.40), ("E", 0.30), ("F", 0.0))


class Level(StrEnum):
    """How congested a zone is, in order."""

    NORMAL = "normal"
    SLOW = "slow"
    CONGESTED = "congested"
    SEVERE = "severe"


ON_INDEX: Sequence[tuple[Level, float]] = ((Level.SEVERE, 70.0), (Level.CONGESTED, 50.0), (Level.SLOW, 30.0))


class Figures(msgspec.Struct, array_like=True, frozen=True):
    """Sums of a zone's windows (`pace` as windows.PACE), and how many of its `active` sensors were heard."""

    vehicles: int
    pace: int
    heard: int
    active: int
    free_flow_x10: int

    @property
    def coverage(self) -> float:
        """Share of the active sensors that were heard, 0..1; 0 where none is active."""
        return min(1.0, self.heard / self.active) if self.active else 0.0

    @property
    def speed_kmh(self) -> float | None:
        """The vehicles' harmonic mean; None without vehicles."""
        return PACE * self.vehicles / self.pace / 10 if self.pace else None

    @property
    def ratio(self) -> float | None:
        """Speed over free flow."""
        speed = self.speed_kmh
        return None if speed is None or not self.free_flow_x10 else 10 * speed / self.free_flow_x10

    @property
    def index(self) -> float | None:
        """0 at free flow or faster, 100 where nothing moves; in tenths."""
        ratio = self.ratio
        return None if ratio is None else round(min(100.0, max(0.0, 100 * (1 - ratio))), 1)

    @property
    def tti(self) -> float | None:
        """Travel time index: travel time over that at free flow."""
        ratio = self.ratio
        return None if ratio is None else round(1 / ratio, 3)

    @property
    def service(self) -> Service | None:
        """The level of service, A to F."""
        ratio = self.ratio
        return None if ratio is None else next((name for name, above in SERVICE if ratio > above), "F")

    @property
    def known(self) -> bool:
        """Whether enough sensors and vehicles say something of the zone."""
        return self.coverage >= COVERAGE and self.vehicles >= VEHICLES and self.index is not None


def band(index: float) -> Level:
    """The level that an index alone would give, without what a zone was before."""
    return next((level for level, on in ON_INDEX if index >= on), Level.NORMAL)
