"""Advice for people in a control room, from the newest closed windows of the state. Every row is marked advisory."""

from datetime import UTC, datetime

import pyarrow as pa

from city_platform.datasets import Dataset
from city_platform.errors import PermanentError
from city_platform.lake.manifest import Manifest
from city_platform.layers.platform import Platform
from city_platform.layers.questions import EVERYTHING
from city_platform.layers.tables import Table, publish_tables
from city_platform.traffic import free_flow
from city_platform.traffic.advice import Way
from city_platform.traffic.live_advice import GreenProposal, WayAround, green_proposals, live, ways_around
from city_platform.traffic.roads import Roads
from city_platform.traffic.state import WINDOW_MS, TrafficState, Window
from city_platform.traffic.windows import CLOSING_MS

LAYER = "advice"
REVISION = "1"  # raise it when this module starts to write other rows from the same inputs
WINDOWS = 6  # a minute, the newest that have closed
WAYS_AROUND, GREEN = "ways_around", "green_splits"
_INSTANT = pa.timestamp("ms", tz="UTC")
_WAYS = {
    "advisory": pa.bool_(),
    "as_of": _INSTANT,
    "zone": pa.string(),
    "congestion_index": pa.float64(),
    "usual_way": pa.string(),
    "usual_s": pa.float64(),
    "way": pa.string(),
    "way_s": pa.float64(),
    "saves_s": pa.float64(),
    "roads_assumed_empty": pa.int32(),
}
_GREEN = {
    "advisory": pa.bool_(),
    "as_of": _INSTANT,
    "zone": pa.string(),
    "phase": pa.string(),
    "demand_vph": pa.float64(),
    "lanes": pa.int32(),
    "green_s": pa.int32(),
    "cycle_s": pa.int32(),
    "flow_ratio": pa.float64(),
    "oversaturated": pa.bool_(),
    "mean_delay_s": pa.float64(),
}


class NothingLive(PermanentError):
    """No window of the last minute is there: nothing is being measured, or the handler is not running."""


def newest(state: TrafficState, now_ms: int) -> list[Window]:
    """The windows of the last minute that has closed, of all zones."""
    last = (now_ms - CLOSING_MS) // WINDOW_MS * WINDOW_MS - WINDOW_MS
    return [window for number in range(WINDOWS - 1, -1, -1) for window in state.city(last - number * WINDOW_MS)]


def advice(
    platform: Platform, dataset: Dataset, state: TrafficState, roads: Roads
) -> tuple[Manifest, list[WayAround], list[GreenProposal]]:
    """Publishes both kinds of advice; raises NothingLive and the errors of the state."""
    now = platform.clock.now()
    windows = newest(state, int(now.timestamp() * 1000))
    if not windows:
        raise NothingLive(f"no traffic was counted in the minute before {now.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC")
    until = datetime.fromtimestamp((windows[-1].start_ms + WINDOW_MS) / 1000, UTC)
    found = live(roads, windows, free_flow.kept(state, roads))
    ways, proposals = list(ways_around(found)), list(green_proposals(found))
    manifest = publish_tables(
        platform,
        LAYER,
        dataset.name,
        EVERYTHING,
        tables={
            WAYS_AROUND: Table(_WAYS, [way_row(one, until) for one in ways]),
            GREEN: Table(_GREEN, [row for one in proposals for row in green_rows(one, until)]),
        },
        inputs={"as_of": until.isoformat(), "revision": REVISION},
        counts={WAYS_AROUND: len(ways), "junctions": len(proposals)},
        details={"as_of": until.isoformat(), "advisory": True},
    )
    return manifest, ways, proposals


def as_of(manifest: Manifest) -> datetime:
    """When the newest window ended that the advice is from."""
    return datetime.fromisoformat(manifest.details["as_of"])


def way_row(one: WayAround, until: datetime) -> dict[str, object]:
    return {
        "advisory": one.advisory,
        "as_of": until,
        "zone": one.zone,
        "congestion_index": round(one.index, 1),
        "usual_way": _way(one.usual),
        "usual_s": round(one.usual.live_s, 1),
        "way": _way(one.way),
        "way_s": round(one.way.live_s, 1),
        "saves_s": round(one.saves_s, 1),
        "roads_assumed_empty": one.way.assumed,
    }


def green_rows(one: GreenProposal, until: datetime) -> list[dict[str, object]]:
    """A row a phase."""
    split = one.split
    return [
        {
            "advisory": one.advisory,
            "as_of": until,
            "zone": one.zone,
            "phase": phase,
            "demand_vph": round(one.demand_vph[phase], 1),
            "lanes": one.lanes[phase],
            "green_s": green,
            "cycle_s": split.cycle_s,
            "flow_ratio": round(split.flow_ratio, 4),
            "oversaturated": split.oversaturated,
            "mean_delay_s": None if split.delay_s is None else round(split.delay_s, 1),
        }
        for phase, green in split.green_s.items()
    ]


def _way(way: Way) -> str:
    return " > ".join(way.zones)
