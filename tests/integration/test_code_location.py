"""What Dagster knows: the graph, what it says of itself, its jobs, sensors and schedules."""

import os
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from city_platform.datasets import Dataset, load_datasets
from city_platform.layers import freshness, landing
from city_platform.layers.drop_folder import SETTLE_SECONDS
from city_platform.layers.platform import Platform
from city_platform.protection.classification import master_keys
from city_platform.quality.settings import rule_id
from definitions import ROOT, build_definitions
from resources.platform import PlatformResource
from tests.town import FIXTURES, bad_trees, good_trees, trees_csv

_OF_ALL = {
    "source",
    "questions",
    "old_versions",
    "replica",
    "scorecard",
    "tables",
    "dictionary",
    "store",
    "statistics",
    "anomalies",
}
_OF_TRAFFIC = {"stream", "exports", "free_flow", "anomalies", "forecast", "advice", "zone_hours"}
VANCOUVER = ZoneInfo("America/Vancouver")


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return build_definitions(tmp_path_factory.mktemp("city"))


@pytest.fixture
def town(home: Path) -> dg.Definitions:
    return build_definitions(home, FIXTURES)


def sensor_context(town: dg.Definitions, home: Path, instance: dg.DagsterInstance) -> dg.SensorEvaluationContext:
    resources = {"platform": PlatformResource(home=str(home))}
    return dg.build_sensor_context(instance, repository_def=town.get_repository_def(), resources=resources)


def test_it_loads_as_the_web_server_loads_it(city: dg.Definitions) -> None:
    city.get_repository_def().load_all_definitions()  # names of jobs and ops may not meet, among other things


def test_the_keys_are_these(city: dg.Definitions) -> None:
    layers = ("cleaned", "curated", "encrypted", "profile", "quality_checked", "raw", "rejected")
    datasets = load_datasets(ROOT / "datasets")
    expected = {f"{dataset.name}/{layer}" for dataset in datasets for layer in layers}
    expected |= {f"{dataset.name}/source" for dataset in datasets if dataset.sources}
    expected |= {f"{dataset.name}/questions" for dataset in datasets if dataset.questions}
    expected |= {"governance/scorecard", "catalog/tables", "catalog/dictionary", "lake/old_versions", "lake/replica"}
    expected |= {f"incidents/{name}" for name in ("store", "exports", "statistics", "anomalies")}
    expected |= {f"traffic_readings/{name}" for name in _OF_TRAFFIC}
    assert {key.to_user_string() for key in city.resolve_all_asset_keys()} == expected
    assert {"business_licences/raw", "parking_tickets/raw"} <= expected


def test_lineage_says_what_is_read(city: dg.Definitions) -> None:
    graph = city.resolve_asset_graph()
    upstream = {
        key.path[-1]: sorted(parent.path[-1] for parent in graph.get(key).parent_keys)
        for key in graph.get_all_asset_keys()
        if key.path[0] == "parking_tickets"
    }
    assert upstream == {
        "source": [],
        "raw": ["source"],
        "cleaned": ["raw"],
        "profile": ["cleaned"],
        "quality_checked": ["cleaned"],
        "rejected": ["cleaned"],
        "curated": ["quality_checked"],
        "encrypted": ["quality_checked"],
    }


def test_every_asset_introduces_itself(city: dg.Definitions) -> None:
    for spec in city.resolve_all_asset_specs():
        name = spec.key.to_user_string()
        assert spec.description, name
        assert spec.owners, name
        assert spec.kinds, name
        assert spec.group_name == spec.key.path[0], name
        assert {"layer", "classification", "cadence"} <= set(spec.tags), name
        if spec.key.path[-1] not in _OF_ALL | _OF_TRAFFIC - {"exports"}:
            assert isinstance(spec.partitions_def, dg.TimeWindowPartitionsDefinition), name
        if spec.key.path[-1] in {"cleaned", "quality_checked", "encrypted"}:
            schema = spec.metadata["dagster/column_schema"]
            assert all(column.description and column.tags["classification"] for column in schema.columns), name


def test_every_rule_is_one_check(city: dg.Definitions) -> None:
    every = {key.to_user_string() for key in city.resolve_asset_graph().asset_check_keys}
    traffic = {"traffic_readings/curated:live_agrees_with_batch", "traffic_readings/anomalies:traffic_is_usual"}
    traffic |= {"traffic_readings/zone_hours:sums_equal_windows"}
    copy = {"lake/replica:agrees_with_the_lake"}
    assert traffic | copy <= every
    keys = {key for key in every - traffic - copy if not key.startswith(("catalog/", "incidents/anomalies"))}
    expected = set()
    for dataset in load_datasets(ROOT / "datasets"):
        checked = f"{dataset.name}/quality_checked"
        expected |= {f"{checked}:{rule_id(rule)}" for rule in dataset.rules.rules}
        expected |= {f"{checked}:{file}__{rule_id(rule)}" for file, rules in dataset.advisory for rule in rules.rules}
    assert keys == expected
    assert sum("source_rules__" in key for key in keys) == 3


def test_building_the_definitions_touches_nothing(tmp_path: Path) -> None:
    home = tmp_path / "nowhere"
    build_definitions(home)
    assert not home.exists()


def test_jobs_sensors_and_schedules(town: dg.Definitions) -> None:
    repository = town.get_repository_def()
    assert {"land", "fetch", "materialize_trees", "govern_trees"} <= set(repository.job_names)
    sensors = {"drop_folder", "outdated_partitions", "portal", "quality_failures", "run_metrics", "data_metrics"}
    sensors |= {"replica"}
    assert {sensor.name for sensor in repository.sensor_defs} == sensors
    fetches = {"daily_fetch", "weekly_fetch", "monthly_fetch"}
    schedules = {schedule.name for schedule in repository.schedule_defs}
    of_all = {"daily_ingestion", "daily_catalog", "daily_pruning", "weekly_governance_trees", "weekly_scorecard"}
    of_all |= {"hourly_replica_check"}
    assert schedules == {*of_all, *fetches}


@pytest.mark.parametrize(
    ("schedule", "first", "ticks"),
    [
        ("daily_ingestion", "2024-03-09", ["03-09 06:00 PST", "03-10 06:00 PDT", "03-11 06:00 PDT"]),
        ("daily_ingestion", "2024-11-02", ["11-02 06:00 PDT", "11-03 06:00 PST", "11-04 06:00 PST"]),
        ("weekly_governance_trees", "2024-03-04", ["03-04 05:00 PST", "03-11 05:00 PDT", "03-18 05:00 PDT"]),
        ("daily_catalog", "2024-11-02", ["11-02 07:30 PDT", "11-03 07:30 PST", "11-04 07:30 PST"]),
        ("daily_pruning", "2024-03-09", ["03-09 03:30 PST", "03-10 03:30 PDT", "03-11 03:30 PDT"]),
        ("weekly_scorecard", "2024-03-04", ["03-04 06:00 PST", "03-11 06:00 PDT", "03-18 06:00 PDT"]),
        ("weekly_governance_trees", "2024-10-28", ["10-28 05:00 PDT", "11-04 05:00 PST", "11-11 05:00 PST"]),
    ],
)
def test_the_clock_going_forward_and_back_moves_no_tick(
    town: dg.Definitions, schedule: str, first: str, ticks: list[str]
) -> None:
    definition = town.get_repository_def().get_schedule_def(schedule)
    midnight = datetime.fromisoformat(first).replace(tzinfo=VANCOUVER)
    found = schedule_execution_time_iterator(
        midnight.timestamp(), definition.cron_schedule, definition.execution_timezone
    )
    assert [next(found).astimezone(VANCOUVER).strftime("%m-%d %H:%M %Z") for _ in ticks] == ticks


def test_the_drop_folder_lands_what_has_stopped_growing(town: dg.Definitions, home: Path, platform: Platform) -> None:
    drop = home / "drop" / "trees"
    drop.mkdir(parents=True)
    file = trees_csv(drop / "trees.csv", good_trees(2024))
    growing = trees_csv(drop / "growing.csv", good_trees(2023))
    old = file.stat().st_mtime - SETTLE_SECONDS - 1
    os.utime(file, (old, old))
    os.utime(growing, (old + 3_600, old + 3_600))  # however slow the machine, it has not stopped yet
    sensor = town.get_repository_def().get_sensor_def("drop_folder")
    with dg.DagsterInstance.ephemeral() as instance:

        def tick() -> list[dg.RunRequest]:
            context = dg.build_sensor_context(
                instance,
                repository_def=town.get_repository_def(),
                resources={"platform": PlatformResource(home=str(home))},
            )
            told = sensor.evaluate_tick(context)
            assert bool(told.run_requests) == (told.skip_message is None)
            skipped.append(told.skip_message)
            return list(told.run_requests or [])

        skipped: list[str | None] = []
        (request,) = tick()
        assert [again.run_key for again in tick()] == [request.run_key]
        job = town.resolve_job_def("land")
        assert job.execute_in_process(run_config=request.run_config, instance=instance).success
        assert tick() == []
        assert skipped[-1] == "no file waits that has stopped growing"
    assert (drop / "landed" / "trees.csv").exists()
    assert growing.exists()
    assert [source.name for source in landing.sources(platform.lake, "trees")] == ["trees.csv"]


def test_a_refused_file_is_set_aside_with_the_reason(town: dg.Definitions, home: Path, platform: Platform) -> None:
    drop = home / "drop" / "trees"
    drop.mkdir(parents=True)
    (drop / "wrong.csv").write_text("a;b\n1;2\n")
    with dg.DagsterInstance.ephemeral() as instance:
        result = town.resolve_job_def("land").execute_in_process(
            run_config={
                "ops": {"land_dropped_file": {"config": {"dataset": "trees", "path": str(drop / "wrong.csv")}}}
            },
            instance=instance,
            raise_on_error=False,
        )
    assert not result.success
    assert (drop / "refused" / "wrong.csv").read_text() == "a;b\n1;2\n"
    assert "looks like another dataset" in (drop / "refused" / "wrong.csv.reason.txt").read_text()
    assert list(platform.lake.store.keys("")) == []


def test_outdated_partitions_are_requested_until_done_and_tried_three_times(
    town: dg.Definitions, home: Path, platform: Platform, trees: Dataset, tmp_path: Path
) -> None:
    landing.land(platform, trees, trees_csv(tmp_path / "trees.csv", [*good_trees(2023), *bad_trees(2024)]))
    sensor = town.get_repository_def().get_sensor_def("outdated_partitions")
    job = town.resolve_job_def("materialize_trees")
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with dg.DagsterInstance.ephemeral() as instance:

        def tick() -> dict[str, dg.RunRequest]:
            context = dg.build_sensor_context(
                instance,
                repository_def=town.get_repository_def(),
                resources={"platform": PlatformResource(home=str(home))},
            )
            told = sensor.evaluate_tick(context)
            requests = told.run_requests or []
            assert requests or "up to date, in work, or waits" in (told.skip_message or "")
            return {str(request.partition_key): request for request in requests}

        def run(request: dg.RunRequest) -> bool:
            return job.execute_in_process(
                partition_key=request.partition_key,
                asset_selection=list(request.asset_selection or []),
                tags=request.tags,
                run_config=quiet,
                instance=instance,
                raise_on_error=False,
            ).success

        first = tick()
        assert list(first) == ["2023", "2024"]
        assert run(first["2023"])
        assert not run(first["2024"])
        assert tick() == {}  # 2023 is done; 2024 waits behind its gate for other data or rules
        for layer in (freshness.LAYERS[0], freshness.LAYERS[1]):
            layer.materialize(platform, trees, "2024")
        landing.land(platform, trees, trees_csv(tmp_path / "trees.csv", [*good_trees(2023), *good_trees(2024)]))
        mended = tick()
        assert list(mended) == ["2024"]
        assert mended["2024"].run_key != first["2024"].run_key
        # A run that fails for another reason is tried again under another key, three times in all.
        (source,) = landing.sources(platform.lake, "trees")
        platform.lake.store.put(source.rows_by_partition["2024"].key, b"damaged")
        keys = []
        while requested := tick():
            keys.append(requested["2024"].run_key)
            assert not run(requested["2024"])
        assert len(set(keys)) == len(keys) == 3


def test_governance_judges_every_year_again(
    town: dg.Definitions, home: Path, platform: Platform, trees: Dataset, tmp_path: Path
) -> None:
    landing.land(platform, trees, trees_csv(tmp_path / "trees.csv", [*good_trees(2023), *good_trees(2024)]))
    for year in ("2023", "2024"):
        for layer in freshness.LAYERS[:2]:
            layer.materialize(platform, trees, year)
    schedule = town.get_repository_def().get_schedule_def("weekly_governance_trees")
    context = dg.build_schedule_context(
        scheduled_execution_time=datetime(2026, 3, 9, 12, tzinfo=UTC),
        repository_def=town.get_repository_def(),
        resources={"platform": PlatformResource(home=str(home))},
    )
    requests = schedule.evaluate_tick(context).run_requests or []
    assert [request.partition_key for request in requests] == ["2023", "2024"]
    with dg.DagsterInstance.ephemeral() as instance:
        job = town.resolve_job_def("govern_trees")
        result = job.execute_in_process(partition_key="2024", instance=instance, run_config={})
        assert result.success
        assert len(result.get_asset_check_evaluations()) == len(trees.rules.rules)
        records = instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(dg.AssetKey(["trees", "quality_checked"]), "has_rows"), limit=1
        )
        assert records[0].partition == "2024"


def test_checks_say_what_where_and_how_many(
    town: dg.Definitions, platform: Platform, trees: Dataset, tmp_path: Path
) -> None:
    landing.land(platform, trees, trees_csv(tmp_path / "trees.csv", [*good_trees(2024, 19), *bad_trees(2024, 2)[1:]]))
    with dg.DagsterInstance.ephemeral() as instance:
        job = town.resolve_job_def("materialize_trees")
        result = job.execute_in_process(partition_key="2024", instance=instance)
        evaluations = {one.check_name: one for one in result.get_asset_check_evaluations()}
    for evaluation in evaluations.values():
        assert {"rule", "in plain words", "rows checked", "outcome", "partition"} <= set(evaluation.metadata)
        assert "Sam Poole" not in str(evaluation.metadata)


def test_every_materialization_says_what_it_made(
    town: dg.Definitions, platform: Platform, trees: Dataset, tmp_path: Path
) -> None:
    landing.land(platform, trees, trees_csv(tmp_path / "trees.csv", good_trees(2024)))
    with dg.DagsterInstance.ephemeral() as instance:
        result = town.resolve_job_def("materialize_trees").execute_in_process(partition_key="2024", instance=instance)
        events = [one.step_materialization_data for one in result.all_events if one.is_step_materialization]
        made = {one.materialization.asset_key.path[-1]: one.materialization for one in events}
    assert set(made) == {"raw", "cleaned", "profile", "quality_checked", "rejected", "curated", "encrypted"}
    for layer, materialization in made.items():
        told = materialization.metadata
        assert {"dagster/row_count", "bytes", "sha256", "version", "dagster/uri", "files"} <= set(told), layer
        assert materialization.partition == "2024"
        assert "Sam Poole" not in str(told)
        if layer not in {"rejected", "encrypted", "profile"}:
            assert "dagster/column_schema" in told, layer
    assert "Acer rubrum" in str(made["cleaned"].metadata["preview"].value)
    assert made["curated"].metadata["trace"].value == "city-platform trace trees 2024"
    read = {layer: one.metadata["bytes read"].value for layer, one in made.items()}
    rows = {
        layer: sum(file.bytes for file in platform.lake.require(layer, "trees", "2024").parts["rows"])
        for layer in ("raw", "cleaned")
    }
    # Raw looks at sizes alone; the register is made with the layer that it stands beside.
    assert (read["raw"], read["cleaned"], read["rejected"]) == (0, rows["raw"], 0)
    assert read["quality_checked"] == read["profile"] == read["curated"] == read["encrypted"] == rows["cleaned"]
    for key in master_keys("trees"):
        assert made["encrypted"].metadata[f"key id/{key}"].value == platform.keys.current(key)


def test_the_copy_is_looked_after_where_one_is_kept(tmp_path: Path) -> None:
    for kept, status in ((False, "STOPPED"), (True, "RUNNING")):
        repository = build_definitions(tmp_path, FIXTURES, replicated=kept).get_repository_def()
        assert repository.get_sensor_def("replica").default_status.value == status
        assert repository.get_schedule_def("hourly_replica_check").default_status.value == status
