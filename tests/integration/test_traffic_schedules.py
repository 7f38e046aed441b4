"""When hours of traffic are made, and made again, and what waits for traffic."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from city_platform.datasets import Dataset, load_dataset
from city_platform.lake.lake import Lake
from city_platform.lake.manifest import StoredFile
from city_platform.layers import exported
from city_platform.layers.platform import Platform
from definitions import build_definitions
from resources.platform import PlatformResource
from sensors import traffic_hours
from tests.town import ROOT, StandingClock

END = datetime(2026, 5, 28, 21, tzinfo=UTC)
HOUR = "2026-05-28-20"
MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def readings() -> Dataset:
    dataset, mistakes = load_dataset(ROOT / "datasets" / "traffic_readings")
    assert dataset is not None, mistakes
    return dataset


def publish(lake: Lake, layer: str, hour: str, content: str = "a", **inputs: str) -> str:
    """Publishes one file; the version."""
    file = StoredFile(f"{layer}/traffic_readings/{hour}/{content}.parquet", 1, content.zfill(64), 1)
    parts, counts = {"parquet": [file]}, {"rows": 1}
    return lake.publish(layer, "traffic_readings", hour, inputs=inputs, parts=parts, counts=counts, schema=[]).version


def test_an_hour_is_made_when_it_has_settled_and_again_in_ever_longer_steps(
    platform: Platform, readings: Dataset, clock: StandingClock
) -> None:
    lake = platform.lake

    def due(after: timedelta) -> bool:
        return exported.due(lake, readings, HOUR, END + after)

    assert [due(after * MINUTE) for after in (-60, 0, 2.9, 3)] == [False, False, False, True]
    made = []
    for minute in range(3, 24 * 60, 9):  # readings come all the time for a day
        version = publish(lake, "exports", HOUR, str(minute))
        if due(minute * MINUTE):
            clock.time = END + minute * MINUTE
            publish(lake, "raw", HOUR, str(minute), exports=version)
            made.append(minute)
    assert made == [3, 12, 48, 192, 768]
    clock.time = END + timedelta(days=400)
    publish(lake, "raw", HOUR, "again", exports=version)
    assert due(timedelta(days=400))  # nothing came since: a run that failed is tried again at once
    publish(lake, "exports", HOUR, "last")
    assert not due(timedelta(days=401) - MINUTE)
    assert due(timedelta(days=401))


def test_years_and_days_are_always_due(platform: Platform) -> None:
    incidents, mistakes = load_dataset(ROOT / "datasets" / "incidents")
    assert incidents is not None, mistakes
    assert exported.due(platform.lake, incidents, "2026-05-28", END - timedelta(days=9))


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> dg.RepositoryDefinition:
    folder = tmp_path_factory.mktemp("datasets")
    shutil.copytree(ROOT / "datasets" / "traffic_readings", folder / "traffic_readings")
    return build_definitions(folder / "nowhere", folder).get_repository_def()


Tick = Callable[[str, datetime], tuple[list[dg.RunRequest], str | None]]


@contextmanager
def ticking(town: dg.RepositoryDefinition, home: Path) -> Iterator[Tick]:
    """Evaluates schedules of the town at a time, over the data below `home`."""
    with dg.instance_for_test() as instance:

        def tick(name: str, at: datetime) -> tuple[list[dg.RunRequest], str | None]:
            # Left open it would leave its instance's storage to all later tests.
            with dg.build_schedule_context(
                instance,
                scheduled_execution_time=at,
                repository_def=town,
                resources={"platform": PlatformResource(home=str(home))},
            ) as context:
                found = town.get_schedule_def(name).evaluate_tick(context)
            return list(found.run_requests or []), found.skip_message

        yield tick


def test_every_hour_those_that_have_settled_are_corrected(
    town: dg.RepositoryDefinition, home: Path, platform: Platform
) -> None:
    name = "hourly_traffic_correction"
    with ticking(town, home) as tick:
        assert tick(name, END + 4 * MINUTE)[0] == []
        assert not home.exists()
        for hour in ("2026-05-27-03", "2026-05-28-19", HOUR, "2026-05-28-21"):
            publish(platform.lake, "exports", hour)
        requests, _ = tick(name, END + 4 * MINUTE)
        again, _ = tick(name, END + 64 * MINUTE)
    assert [one.partition_key for one in requests] == [HOUR, "2026-05-28-19", "2026-05-27-03"]  # two were missed
    assert [one.partition_key for one in again][:2] == ["2026-05-28-21", HOUR]
    assert {one.run_key for one in requests} < {one.run_key for one in again}


def test_what_learns_and_advises_waits_for_traffic(
    town: dg.RepositoryDefinition, home: Path, platform: Platform
) -> None:
    with ticking(town, home) as tick:
        for name in ("daily_traffic_analysis", "traffic_advice"):
            requests, skipped = tick(name, END)
            assert not requests
            assert skipped
        assert not home.exists()
        publish(platform.lake, "exports", HOUR)
        assert len(tick("traffic_advice", END + 50 * MINUTE)[0]) == 1
        assert tick("traffic_advice", END + 70 * MINUTE)[0] == []
        assert tick("daily_traffic_analysis", END)[0] == []
        publish(platform.lake, "curated", HOUR)
        assert len(tick("daily_traffic_analysis", END)[0]) == 1


def test_days_are_summed_where_an_hour_of_theirs_was_corrected_the_old_ones_in_turn(
    platform: Platform, readings: Dataset, clock: StandingClock
) -> None:
    clock.time = END
    hours = {"2026-05-28-20": 1, "2026-05-26-01": 2, "2026-05-25-03": 3, "2026-02-11-09": 4}
    for hour, content in hours.items():
        publish(platform.lake, "curated", hour, str(content))
    with dg.instance_for_test() as instance:

        def ticks(count: int) -> list[str]:
            cursor, days = None, []
            for _ in range(count):
                found, cursor = traffic_hours.requests(platform, readings, "sum_traffic_hours", instance, cursor)
                days += [str(one.partition_key) for one in found]
            return days

        assert ticks(1) == ["2026-05-28", "2026-05-26", "2026-05-25"]
        newest = ["2026-05-28", "2026-05-26"]
        first_day = (END.date() - date(2026, 1, 1)).days
        assert sorted({*ticks(first_day)} - {*newest}) == ["2026-02-11", "2026-05-25"], "all days of the year were seen"
        work = platform.lake.require("curated", readings.name, "2026-05-28-20").version
        platform.lake.publish(
            "zone_hours", readings.name, "2026-05-28", inputs={"2026-05-28-20": work, "revision": "1"},
            parts={"parquet": []}, counts={"rows": 0}, schema=[],
        )  # fmt: skip
        assert ticks(1) == ["2026-05-26", "2026-05-25"]
        publish(platform.lake, "curated", "2026-05-28-20", "again")
        assert ticks(1)[0] == "2026-05-28"


def test_governance_judges_the_newest_hours_alone(
    town: dg.RepositoryDefinition, home: Path, platform: Platform
) -> None:
    hours = [(END + timedelta(hours=number)).strftime("%Y-%m-%d-%H") for number in range(30)]
    for hour in hours:
        publish(platform.lake, "cleaned", hour)
    with ticking(town, home) as tick:
        requests, _ = tick("weekly_governance_traffic_readings", END + timedelta(hours=40))
    assert [one.partition_key for one in requests] == hours[-24:]
