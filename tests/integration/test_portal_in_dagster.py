"""The portal in the graph: observed, fetched where it changed, and left alone where it did not."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from city_platform.datasets import Dataset, load_datasets
from city_platform.layers import landing, raw
from city_platform.layers.platform import Platform
from city_platform.portal.settings import PORTAL
from definitions import build_definitions
from resources.platform import PlatformResource
from resources.portal import PortalResource
from tests.portal_server import CATALOGUE, EXPORT, STATE, Fault, PortalServer
from tests.town import FIXTURES, StandingClock, Tree, good_trees, trees_csv

SERVERS = """\
servers:
  - server: current
    type: api
    location: https://portal.invalid{catalogue}trees
    customProperties: [{{property: cadence, value: daily}}]
  - server: archive
    type: api
    location: https://portal.invalid{catalogue}trees-of-old
    customProperties: [{{property: cadence, value: static}}]
"""


@dataclass
class Town:
    """A portal with two files, the code location of a town that fetches them, and its Dagster instance."""

    portal: PortalServer
    definitions: dg.Definitions
    dataset: Dataset
    instance: dg.DagsterInstance
    resources: dict[str, dg.ConfigurableResource[object]]
    files: Path

    def publish(self, portal_id: str, trees: list[Tree], processed: str) -> None:
        served = self.portal.serve(portal_id, trees_csv(self.files / f"{portal_id}.csv", trees))
        served.data_processed = processed

    def tick(self, cursor: str | None = None) -> dg.SensorResult:
        sensor = self.definitions.get_repository_def().get_sensor_def("portal")
        context = dg.build_sensor_context(
            self.instance,
            cursor=cursor,
            repository_def=self.definitions.get_repository_def(),
            resources=self.resources,
        )
        data = sensor.evaluate_tick(context)
        return dg.SensorResult(run_requests=data.run_requests, cursor=data.cursor, asset_events=list(data.asset_events))

    def scheduled(self, name: str) -> list[dg.RunRequest]:
        schedule = self.definitions.get_repository_def().get_schedule_def(name)
        context = dg.build_schedule_context(
            self.instance,
            scheduled_execution_time=StandingClock().now(),
            repository_def=self.definitions.get_repository_def(),
            resources=self.resources,
        )
        return list(schedule.evaluate_tick(context).run_requests or [])

    def run(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        job = self.definitions.resolve_job_def("fetch")
        return job.execute_in_process(run_config=request.run_config, instance=self.instance, raise_on_error=False)


@pytest.fixture
def town(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    folder = tmp_path / "datasets"
    shutil.copytree(FIXTURES, folder)
    contract = folder / "trees" / "contract.yaml"
    text = contract.read_text()
    contract.write_text(text.replace("domain: parks\n", "domain: parks\n" + SERVERS.format(catalogue=CATALOGUE), 1))
    (dataset,) = load_datasets(folder)
    with PortalServer() as portal, dg.DagsterInstance.ephemeral() as instance:
        monkeypatch.setenv(PORTAL, portal.url)
        resources = {"platform": PlatformResource(home=str(home)), "portal": PortalResource()}
        town = Town(portal, build_definitions(home, folder), dataset, instance, resources, tmp_path)
        town.publish("trees", good_trees(2024), "2026-03-01T00:00:00+00:00")
        town.publish("trees-of-old", [*good_trees(2022), *good_trees(2023)], "2025-01-01T00:00:00+00:00")
        yield town


def test_a_change_is_observed_fetched_once_and_then_left_alone(town: Town, platform: Platform) -> None:
    first = town.tick()
    assert [one.run_key for one in town.tick().run_requests or []] == [one.run_key for one in first.run_requests or []]
    (seen,) = first.asset_events
    assert seen.asset_key == dg.AssetKey(["trees", "source"])
    assert seen.metadata["current"].value["records"] == 20
    for request in first.run_requests or []:
        assert town.run(request).success
    assert [source.name for source in landing.sources(platform.lake, "trees")] == ["trees.csv", "trees-of-old.csv"]

    # Nothing changed: no run, no observation, no export asked for. What is done twice is done once.
    exports = town.portal.asked(EXPORT)
    second = town.tick(first.cursor)
    assert (second.run_requests, list(second.asset_events)) == ([], [])
    for request in first.run_requests or []:
        result = town.run(request)
        assert result.output_for_node is not None
        assert result.success
    assert town.portal.asked(EXPORT) == exports

    # One source changes: one observation with another data version, one run, and only the year that it touches.
    before = {year: raw.inputs(platform, town.dataset, year) for year in ("2022", "2023")}
    town.publish("trees-of-old", [*good_trees(2022, 25), *good_trees(2023)], "2026-03-08T00:00:00+00:00")
    third = town.tick(second.cursor)
    (request,) = third.run_requests or []
    assert "archive" in str(request.run_key)
    (again,) = third.asset_events
    assert again.tags["dagster/data_version"] != seen.tags["dagster/data_version"]
    assert town.run(request).success
    after = {year: raw.inputs(platform, town.dataset, year) for year in before}
    assert {year for year in before if before[year] != after[year]} == {"2022"}

    # Somebody brings another file of that name: the portal's is missing again.
    landing.land(platform, town.dataset, trees_csv(town.files / "trees.csv", good_trees(2024, 5)))
    (request,) = town.tick(third.cursor).run_requests or []
    assert "current" in str(request.run_key)


def test_the_raw_layer_says_where_and_when_it_was_fetched(town: Town) -> None:
    for request in town.tick().run_requests or []:
        town.run(request)
    result = town.definitions.resolve_job_def("materialize_trees").execute_in_process(
        partition_key="2024", asset_selection=[dg.AssetKey(["trees", "raw"])], instance=town.instance
    )
    (event,) = result.get_asset_materialization_events()
    told = str(event.materialization.metadata["sources"].value)
    assert f"{town.portal.location('trees')}/exports/csv" in told
    assert "fetched_at" in told
    assert "sha256" in told


def test_schedules_follow_the_cadence_and_request_only_what_changed(town: Town) -> None:
    (daily,) = town.scheduled("daily_fetch")
    (monthly,) = town.scheduled("monthly_fetch")
    assert town.scheduled("weekly_fetch") == []
    assert ("current" in str(daily.run_key), "archive" in str(monthly.run_key)) == (True, True)
    assert town.run(daily).success
    assert town.scheduled("daily_fetch") == []
    # A portal that does not answer now is a patient run's business.
    town.portal.faults[STATE].append(Fault(status=503))
    assert [one.run_config for one in town.scheduled("daily_fetch")] == [daily.run_config]


def test_nothing_asks_the_portal_unless_the_deployment_says_so(town: Town, home: Path) -> None:
    assert town.portal.requests == []
    for fetch, status in ((False, "STOPPED"), (True, "RUNNING")):
        repository = build_definitions(home, FIXTURES, fetch=fetch).get_repository_def()
        watching = [repository.get_sensor_def("portal"), *map(repository.get_schedule_def, FETCH_SCHEDULES)]
        assert {one.default_status.value for one in watching} == {status}


FETCH_SCHEDULES = ("daily_fetch", "weekly_fetch", "monthly_fetch")


def test_a_portal_that_fails_is_no_skip_and_one_source_keeps_no_other_back(town: Town) -> None:
    town.portal.faults[STATE].append(Fault(status=502))
    result = town.tick()
    (request,) = result.run_requests or []
    assert "archive" in str(request.run_key)
    town.portal.faults[STATE].extend([Fault(status=502)] * 2)
    with pytest.raises(Exception, match="answers 502"):
        town.tick()


def test_the_cursor_holds_todays_sources_and_nothing_else(town: Town) -> None:
    gone = json.dumps({"first": "trees/gone", "seen": {f"trees/gone-{number}": "x" for number in range(1000)}})
    cursor = json.loads(town.tick(gone).cursor or "")
    assert set(cursor["seen"]) == {"trees/current", "trees/archive"}


def test_a_run_tells_permanent_from_transient(town: Town, platform: Platform) -> None:
    requests = {str(one.run_key).split("/")[1]: one for one in town.tick().run_requests or []}
    town.portal.datasets.pop("trees")
    result = town.run(requests["current"])
    assert not result.success
    failed = next(event for event in result.all_events if event.is_step_failure)
    assert "does not exist" in str(failed.step_failure_data.user_failure_data)
    assert list(platform.lake.store.keys("")) == []
