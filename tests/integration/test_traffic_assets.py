"""Traffic from the stream to the corrected hour, beside what was counted live."""

import shutil
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest

from assets.jobs import layer_selection
from assets.traffic import AGREES
from assets.traffic_hours import EQUAL
from city_platform.datasets import Dataset, load_dataset
from city_platform.deployment.traffic import open_registry, open_state
from city_platform.layers import raw, traffic_agreement, traffic_hours
from city_platform.layers.exported import HourNotOver
from city_platform.layers.platform import Platform
from city_platform.layers.trace import Asked, trace
from city_platform.layers.trace_rows import NoSuchRow
from city_platform.layers.traffic_agreement import LiveForgotten
from city_platform.layers.traffic_history import ZONE_HOURS
from city_platform.local.platform import local_platform
from city_platform.traffic.agreement import ERROR_SHARE
from city_platform.traffic.archive import TrafficArchive, hour_name
from city_platform.traffic.handler import TrafficHandler
from city_platform.traffic.registry import Registry
from city_platform.traffic.stream import StreamRecord
from definitions import build_definitions
from sensors import traffic_hours as traffic_hours_sensor
from tests.town import ROOT, StandingClock
from tests.traffic import Letters, Told, event, record
from tests.traffic_lake import frames

HOUR_MS = 3_600_000
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("CITY_PLATFORM_TRAFFIC_REGISTRY", "7:60:6")  # seed, sensors, zones
    return open_registry()


def an_hour_that_settled() -> int:
    """The start of an hour of UTC that is over, epoch ms."""
    now = int(datetime.now(UTC).timestamp() * 1000)
    return now // HOUR_MS * HOUR_MS - 2 * HOUR_MS


def fleet(registry: Registry, start_ms: int, every_s: int, until_s: int) -> list[list[Told]]:
    """Batches of every sensor's readings, the next ones repeating some of the last, as gateways do that try again."""
    batches, before = [], list[Told]()
    for second in range(0, until_s, every_s):
        now = [
            Told(sensor, start_ms // 1000 + second, start_ms + second * 1000 + sensor, sensor * 31 + second)
            for sensor in range(len(registry))
        ]
        batches.append([*now, *before[::5]])
        before = now
    return batches


class Town:
    """A home with a live state and a lake, fed from one stream."""

    def __init__(self, home: Path, registry: Registry) -> None:
        self.home, self.registry = home, registry
        self.state = open_state(home)
        self.handler = TrafficHandler(registry, self.state, Letters(), lambda: 0)
        self.clock = StandingClock(datetime.now(UTC))
        self.platform = local_platform(home, self.clock, threads=1)
        self.lake = self.platform.lake
        self.archive = TrafficArchive(self.lake, registry)

    def stream(self, batches: Iterable[Sequence[Told]], delay_ms: int = 2_000) -> int:
        """Puts them through both readers, as the stream took them so long after the newest; how many live dropped."""
        dropped, records = 0, []
        for batch in batches:
            arrival = max(one.ts_ms for one in batch) + delay_ms
            packed = frames(batch, self.registry)
            outcome = self.handler.handle(event(*(record(one, n, arrival) for n, one in enumerate(packed))))
            assert not outcome.failed
            assert not outcome.rejected
            dropped += outcome.late_dropped
            records += [StreamRecord(str(n), "z", one, arrival) for n, one in enumerate(packed)]
        self.archive.file(records)
        return dropped


def leads_to_its_readings(platform: Platform, readings: Dataset, hour: str, zone: str, count: int) -> None:
    """The hour's figure of a zone leads to its readings, each at its place in an export."""
    figure = trace(platform, readings, hour, Asked({"zone": zone}, "readings", rows=1_000, total=True))
    assert figure.found is not None
    assert figure.row == {"zone": zone, "readings": str(count)}
    assert (figure.found.total, figure.differing) == (count, ())
    sources = {one.name: one.rows for one in figure.partitions[0].sources}
    assert len(figure.shown) == min(1_000, count)
    assert all(0 <= one.row < sources[one.source] for one in figure.shown)
    with pytest.raises(NoSuchRow, match="speed_kmh is no count and no sum"):
        trace(platform, readings, hour, Asked({"zone": zone}, "speed_kmh", total=True))


def summed(city: dg.Definitions, town: Town, instance: dg.DagsterInstance, hour: str) -> tuple[int, int]:
    """Has the sensor ask for the hour's day and makes it; half of the rows of sums, and all readings in them."""
    dataset, mistakes = load_dataset(ROOT / "datasets" / "traffic_readings")
    assert dataset is not None, mistakes
    day = traffic_hours.day_of(hour)
    wanted, _ = traffic_hours_sensor.requests(town.platform, dataset, "sum_traffic_hours", instance, None)
    assert [one.partition_key for one in wanted] == [day]
    job = city.resolve_job_def("sum_traffic_hours")
    done = job.execute_in_process(partition_key=day, instance=instance, run_config=QUIET)
    (check,) = done.get_asset_check_evaluations()
    assert (check.check_name, check.passed, check.metadata["hours"].value) == (EQUAL, True, 1)
    assert traffic_hours_sensor.requests(town.platform, dataset, "sum_traffic_hours", instance, None)[0] == []
    manifest = town.lake.require(ZONE_HOURS, "traffic_readings", day)
    rows = pq.read_table(town.lake.paths(manifest, "parquet"), partitioning=None).to_pylist()
    return len(rows) // 2, sum(row["readings"] for row in rows)


def test_an_hour_live_and_corrected(tmp_path: Path, registry: Registry) -> None:
    town = Town(tmp_path, registry)
    start = an_hour_that_settled()
    hour = hour_name(start)
    batches = fleet(registry, start, 30, 3_600)
    assert town.stream(batches) == 0
    shutil.copytree(ROOT / "datasets" / "traffic_readings", tmp_path / "datasets" / "traffic_readings")
    city = build_definitions(tmp_path, tmp_path / "datasets")
    job = city.resolve_job_def("materialize_traffic_readings")
    with dg.instance_for_test() as instance:

        def corrected(*layers: str) -> dg.AssetCheckEvaluation:
            chosen = layer_selection("traffic_readings", layers) or None
            done = job.execute_in_process(
                partition_key=hour, instance=instance, run_config=QUIET, asset_selection=chosen
            )
            [check] = [one for one in done.get_asset_check_evaluations() if one.check_name == AGREES]
            return check

        check = corrected()
        assert check.passed
        told = {name: value.value for name, value in check.metadata.items()}
        assert told["windows that differ in anything"] == 0
        assert told["windows"] == 120 * 6
        assert told["readings live"] == told["readings in the lake"] == 120 * 60
        assert (told["zones above the warning"], told["worst zones"]) == (0, "(none)")
        cleaned = town.lake.require("cleaned", "traffic_readings", hour)
        assert (cleaned.counts["rows"], cleaned.counts["duplicates"]) == (7_200, 119 * 12)
        assert town.lake.require("encrypted", "traffic_readings", hour).counts["rows"] == 7_200

        # One zone's sensors were cut off: what they kept comes after the live windows took their last reading.
        zone, of_zone = registry.zones[2], range(*registry.sensors(2).indices(len(registry)))
        late = [Told(one, 10_000_000_000, start + 1_000_000, 45) for one in of_zone]
        assert town.stream([late], delay_ms=600_000) == len(late)
        check = corrected("raw", "cleaned", "quality_checked", "curated")
        assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
        assert f"| {zone} | {120 * len(of_zone)} | {121 * len(of_zone)} |" in str(check.metadata["worst zones"].value)
        assert f"| {1 / 121:.3%} |" in str(check.metadata["worst zones"].value)
        assert check.metadata["windows that differ in anything"].value == 1

        more = [Told(one.sensor, one.seq + 1 + n, one.ts_ms, 45) for n in range(3) for one in late]
        assert town.stream([more], delay_ms=600_000) == len(more)
        check = corrected("raw", "cleaned", "quality_checked", "curated")
        assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
        assert check.metadata["zones above the error"].value == 1

        # The day's sums: asked for because an hour was corrected, made, proven, and then not asked for again.
        assert summed(city, town, instance, hour) == (3, 7_200 + 4 * len(late))

    readings, mistakes = load_dataset(ROOT / "datasets" / "traffic_readings")
    assert readings is not None, mistakes
    leads_to_its_readings(town.platform, readings, hour, zone, 124 * len(of_zone))
    _, zones = traffic_agreement.agreement(town.platform, readings, hour, town.state)
    [worst] = [one for one in zones if one.worst]
    assert (worst.zone, worst.shares[0]) == (zone, 4 / 124)
    assert worst.shares[0] > ERROR_SHARE
    town.clock.time -= timedelta(hours=3)
    with pytest.raises(HourNotOver, match="3 minutes after its end"):
        raw.materialize(town.platform, readings, hour)
    town.clock.time += timedelta(days=9)
    with pytest.raises(LiveForgotten, match="kept for 8 days"):
        traffic_agreement.agreement(town.platform, readings, hour, town.state)
