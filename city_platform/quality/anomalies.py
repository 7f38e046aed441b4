"""What a figure should be, going by earlier ones: a robust trend with a season, and an interval around it.

The level is a median and the trend the median of all slopes (Theil-Sen), so one bad partition in the past moves
neither. With two full seasons in the past each place in the season has its own offset. The interval is three robust
standard deviations of what the past leaves unexplained, wider while there are few points, and never narrower than
`TOLERANCE` of the expected figure: a figure that never moved is not an alarm when it moves by a hair.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

LEAST_POINTS = 3  # as AWS: with fewer there is nothing to learn from
TREND_POINTS = 6  # with fewer a slope is mostly chance
DEVIATIONS = 3.0
TOLERANCE = 0.01
_MAD_TO_DEVIATION = 1.4826  # of a normal distribution


@dataclass(frozen=True, slots=True)
class Expectation:
    """The expected figure and the interval in which a figure is no anomaly, both ends included."""

    value: float
    low: float
    high: float
    points: int
    seasonal: bool

    def holds(self, figure: float) -> bool:
        return self.low <= figure <= self.high

    def said(self, figure: float) -> str:
        """The finding in words."""
        season = ", the season considered" if self.seasonal else ""
        return (
            f"{figure:,.6g} where about {self.value:,.6g} was expected "
            f"(between {self.low:,.6g} and {self.high:,.6g}, from {self.points} earlier partitions{season})"
        )


def expectation(earlier: Sequence[float], season: int = 1) -> Expectation | None:
    """What the figure after `earlier` (oldest first) should be; None with fewer than `LEAST_POINTS`."""
    count = len(earlier)
    if count < LEAST_POINTS:
        return None
    seasonal = season > 1 and count >= 2 * season
    slope = _slope(earlier, season if seasonal else 1)
    level = [figure - slope * place for place, figure in enumerate(earlier)]
    offsets = [median(level[place::season]) for place in range(season)] if seasonal else [median(level)]
    left = [figure - offsets[place % len(offsets)] for place, figure in enumerate(level)]
    value = offsets[count % len(offsets)] + slope * count
    deviation = _MAD_TO_DEVIATION * median(abs(one) for one in left)
    width = max(DEVIATIONS * (1 + LEAST_POINTS / count) * deviation, TOLERANCE * abs(value))
    return Expectation(value, value - width, value + width, count, seasonal)


def _slope(earlier: Sequence[float], season: int) -> float:
    """The median slope between figures of the same place in the season."""
    if len(earlier) < TREND_POINTS:
        return 0.0
    return median(
        (earlier[later] - earlier[place]) / (later - place)
        for place in range(len(earlier))
        for later in range(place + season, len(earlier), season)
    )
