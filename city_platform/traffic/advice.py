"""Advice for people in a control room: ways around a jam, and how to share the green of a junction.

Nothing here actuates anything: every result carries `advisory = True`, and no adapter takes one. Ways are the fastest
ones without loops by live travel time (Yen, "Finding the K Shortest Loopless Paths in a Network", 1971). Green is
shared as Webster proposed ("Traffic Signal Settings", Road Research Technical Paper 39, 1958): the cycle of least delay
for the measured demand, and green in proportion to each phase's critical flow ratio.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import pairwise
from math import inf, isfinite
from typing import ClassVar

SLOWEST_KMH = 3.0  # a standing queue still moves at a walking pace; keeps travel times finite
WORTH_S, WORTH_SHARE = 60.0, 0.10  # a way around is worth telling if it saves this much, both of them
MOST_WAYS = 10

SATURATION_VPH = 1800.0  # vehicles an hour of green a lane lets through
SHORTEST_GREEN_S = 7
SHORTEST_CYCLE_S, LONGEST_CYCLE_S = 40, 120
ROUNDING = 1e-9
OVERSATURATED = 0.95  # above this sum of flow ratios no cycle serves the demand


@dataclass(frozen=True, slots=True)
class Road:
    """One way between two zones: metres, and km/h when it is empty."""

    start: str
    end: str
    length_m: float
    free_flow_kmh: float

    def __post_init__(self) -> None:
        if not (0 < self.length_m < inf and 0 < self.free_flow_kmh < inf):
            raise ValueError(f"road {self.start} -> {self.end}: length and free-flow speed must be above 0")


@dataclass(frozen=True, slots=True)
class Way:
    """A way without loops, and how long it takes now and when empty."""

    zones: tuple[str, ...]
    live_s: float
    free_flow_s: float
    assumed: int  # its roads without a live speed, taken as empty


@dataclass(frozen=True, slots=True)
class Rerouting:
    """The usual way (the fastest when empty), the ways now, fastest first, and what the fastest saves."""

    advisory: ClassVar[bool] = True
    usual: Way
    ways: tuple[Way, ...]
    saves_s: float
    worthwhile: bool


class Network:
    """The zones' roads with their live travel times."""

    def __init__(self, roads: Sequence[Road], speeds_kmh: Mapping[tuple[str, str], float]) -> None:
        """`speeds_kmh`: live speed by (start, end); a road that has none, or NaN, is taken as empty and counted.

        Raises ValueError for two roads between the same zones in one direction.
        """
        self._free: dict[str, dict[str, float]] = {}
        self._live: dict[str, dict[str, float]] = {}
        self._assumed: set[tuple[str, str]] = set()
        for road in roads:
            if road.end in self._free.setdefault(road.start, {}):
                raise ValueError(f"two roads {road.start} -> {road.end}: give the faster one")
            free = road.length_m / road.free_flow_kmh * 3.6
            speed = speeds_kmh.get((road.start, road.end))
            if speed is None or not isfinite(speed):
                self._assumed.add((road.start, road.end))
                speed = road.free_flow_kmh
            self._free[road.start][road.end] = free
            # Faster than empty is a sensor's error or a driver's; neither makes a way shorter.
            self._live.setdefault(road.start, {})[road.end] = max(road.length_m / max(speed, SLOWEST_KMH) * 3.6, free)
            for times in (self._free, self._live):
                times.setdefault(road.end, {})

    def reroute(self, origin: str, destination: str, ways: int = 3) -> Rerouting | None:
        """The fastest ways now; None where no road leads there.

        Raises ValueError for an unknown zone, equal ends or a number of ways that is not 1..`MOST_WAYS`.
        """
        unknown = sorted({origin, destination} - self._free.keys())
        if unknown or origin == destination or not 1 <= ways <= MOST_WAYS:
            raise ValueError(
                f"no advice from {origin!r} to {destination!r} in {ways} ways: "
                f"needs two different zones with roads ({', '.join(unknown) or 'both known'}) and 1 to {MOST_WAYS} ways"
            )
        usual = shortest_paths(self._free, origin, destination, 1)
        if not usual:
            return None
        now = tuple(self._way(path) for path in shortest_paths(self._live, origin, destination, ways))
        before = self._way(usual[0])
        saves = before.live_s - now[0].live_s
        worthwhile = saves >= WORTH_S and saves >= WORTH_SHARE * before.live_s
        return Rerouting(before, now, saves, worthwhile)

    def _way(self, path: tuple[str, ...]) -> Way:
        pairs = list(pairwise(path))
        return Way(
            zones=path,
            live_s=sum(self._live[start][end] for start, end in pairs),
            free_flow_s=sum(self._free[start][end] for start, end in pairs),
            assumed=sum(pair in self._assumed for pair in pairs),
        )


Times = Mapping[str, Mapping[str, float]]


def shortest_paths(times: Times, origin: str, destination: str, count: int) -> list[tuple[str, ...]]:
    """The `count` fastest paths without loops, equally fast ones by name; fewer where there are fewer."""
    first = _fastest(times, (origin,), destination, set())
    if first is None:
        return []
    found, waiting, known = [first[1]], list[tuple[float, tuple[str, ...]]](), {first[1]}
    while len(found) < count:
        last = found[-1]
        for bend in range(len(last) - 1):
            root = last[: bend + 1]
            # Leave the root by another road than every path found so far that shares it.
            closed = {path[bend + 1] for path in found if path[: bend + 1] == root}
            branch = _fastest(times, root, destination, closed)
            if branch is not None and branch[1] not in known:
                known.add(branch[1])
                heappush(waiting, branch)
        if not waiting:
            break
        found.append(heappop(waiting)[1])
    return found


def _fastest(
    times: Times, root: tuple[str, ...], destination: str, closed: set[str]
) -> tuple[float, tuple[str, ...]] | None:
    """The fastest path that begins with `root`, leaves it by none of the `closed` zones and never returns to it."""
    spent = sum(times[start][end] for start, end in pairwise(root))
    queue = [
        (spent + seconds, (*root, zone)) for zone, seconds in times[root[-1]].items() if zone not in {*closed, *root}
    ]
    heapify(queue)
    settled = set(root)
    while queue:
        seconds, path = heappop(queue)
        if path[-1] == destination:
            return seconds, path
        if path[-1] in settled:
            continue
        settled.add(path[-1])
        for zone, more in times[path[-1]].items():
            if zone not in settled:
                heappush(queue, (seconds + more, (*path, zone)))
    return None


@dataclass(frozen=True, slots=True)
class Phase:
    """The streams that have green together: measured vehicles an hour and lanes of each."""

    name: str
    streams: Sequence[tuple[float, int]]

    def __post_init__(self) -> None:
        if not self.streams or any(not (0 <= demand < inf and lanes >= 1) for demand, lanes in self.streams):
            raise ValueError(f"phase {self.name!r} needs streams with a demand of 0 or more and at least a lane each")

    @property
    def flow_ratio(self) -> float:
        """Demand over what its lanes let through, of the fullest stream."""
        return max(demand / (lanes * SATURATION_VPH) for demand, lanes in self.streams)


@dataclass(frozen=True, slots=True)
class GreenSplit:
    """A proposal: whole seconds of green for each phase within a cycle, and the mean delay it should give.

    `delay_s` is Webster's, over all vehicles; None where a stream gets more than its green lets through.
    """

    advisory: ClassVar[bool] = True
    cycle_s: int
    green_s: Mapping[str, int]
    flow_ratio: float
    oversaturated: bool
    delay_s: float | None


def green_split(phases: Sequence[Phase], lost_s: int) -> GreenSplit:
    """Shares the green of a junction by its measured demand; `lost_s` is the cycle's time without green.

    Oversaturated junctions get the longest cycle and the same proportions, and are marked: no split helps them. Raises
    ValueError for fewer than two phases, phases of one name, or lost time and shortest greens that fill the longest
    cycle.
    """
    names = [phase.name for phase in phases]
    least = lost_s + SHORTEST_GREEN_S * len(phases)
    if len(phases) < 2 or len(set(names)) != len(names) or lost_s < 0 or least > LONGEST_CYCLE_S:  # noqa: PLR2004
        raise ValueError(
            f"{len(phases)} phases with {lost_s} s lost: needs two or more phases of different names, and lost time "
            f"and {SHORTEST_GREEN_S} s of green each within {LONGEST_CYCLE_S} s"
        )
    ratios = [phase.flow_ratio for phase in phases]
    total = sum(ratios)
    oversaturated = total >= OVERSATURATED
    best = LONGEST_CYCLE_S if oversaturated else round((1.5 * lost_s + 5) / (1 - total))
    cycle = min(max(best, SHORTEST_CYCLE_S, least), LONGEST_CYCLE_S)
    green = dict(zip(names, _shares(ratios, cycle - lost_s), strict=True))
    return GreenSplit(cycle, green, total, oversaturated, _delay(phases, green, cycle))


def _shares(ratios: Sequence[float], seconds: int) -> list[int]:
    """Whole seconds in proportion, none below the shortest green, all handed out; rests go to the largest remainder."""
    # Those whose proportion is below the shortest green take just that; the others share what is left. On average a
    # share is long enough, so somebody always remains.
    short: set[int] = set()
    while True:
        rest = [index for index in range(len(ratios)) if index not in short]
        left, weight = seconds - SHORTEST_GREEN_S * len(short), sum(ratios[index] for index in rest)
        exact = {index: left * ratios[index] / weight if weight else left / len(rest) for index in rest}
        below = {index for index, share in exact.items() if share < SHORTEST_GREEN_S - ROUNDING}
        if not below:
            break
        short |= below
    shares = [int(exact.get(index, SHORTEST_GREEN_S) + ROUNDING) for index in range(len(ratios))]
    by_remainder = sorted(rest, key=lambda index: (shares[index] - exact[index], index))
    for index in by_remainder[: seconds - sum(shares)]:
        shares[index] += 1
    return shares


def _delay(phases: Sequence[Phase], green: Mapping[str, int], cycle: int) -> float | None:
    """Webster's mean delay, seconds a vehicle: waiting for green and for those before, less his correction of 10 %."""
    waited = vehicles = 0.0
    for phase in phases:
        share = green[phase.name] / cycle
        for demand, lanes in phase.streams:
            saturation = demand / (lanes * SATURATION_VPH * share)
            if saturation >= 1:
                return None
            if demand:
                uniform = cycle * (1 - share) ** 2 / (2 * (1 - share * saturation))
                random = saturation**2 / (2 * demand / 3600 * (1 - saturation))
                waited += 0.9 * (uniform + random) * demand
                vehicles += demand
    return waited / vehicles if vehicles else 0.0
