"""Changes of incidents, from the store through the export to the curated tables."""

import json
import re
import shutil
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from city_platform.cli.app import app as command
from city_platform.datasets import Dataset, load_dataset
from city_platform.deployment.incidents import open_incident_service
from city_platform.incidents.export import export_once
from city_platform.incidents.model import Incident, Resolution, Status, Visibility
from city_platform.lake.lake import NotPublished, sha256_of
from city_platform.layers import cleaned, curated, encrypted, freshness, open_incidents, quality_checked, questions, raw
from city_platform.layers.platform import Platform
from city_platform.layers.trace import Asked, trace
from city_platform.layers.trace_reports import NoSuchValue, trace_count
from city_platform.local.platform import local_platform
from definitions import build_definitions
from resources.platform import PlatformResource
from tests.incident_stream import Town, following
from tests.incidents import NOW, incident
from tests.town import ROOT

TODAY, YESTERDAY = NOW.date().isoformat(), (NOW - timedelta(days=1)).date().isoformat()


@pytest.fixture(scope="session")
def incidents() -> Dataset:
    dataset, mistakes = load_dataset(ROOT / "datasets" / "incidents")
    assert dataset is not None, mistakes
    return dataset


def exported(town: Town, holder: str) -> None:
    while town.mapping().deliver():
        pass
    export_once(town.path.export, holder)


def resolved(before: Incident, resolution: Resolution, after: timedelta) -> Incident:
    at = before.updated_at + after
    return following(before, status=Status.RESOLVED, resolution=resolution, updated_at=at, closed_at=at)


def reopened(before: Incident, after: timedelta) -> Incident:
    at = before.updated_at + after
    return following(before, status=Status.REOPENED, resolution=None, closed_at=None, updated_at=at)


def summary(platform: Platform, day: str) -> list[dict[str, Any]]:
    files = platform.lake.paths(platform.lake.require("curated", "incidents", day), "parquet")
    with platform.engine.session() as session:
        found: list[dict[str, Any]] = session.stream(f"SELECT * FROM {session.parquet(files)}").read_all().to_pylist()
    return found


def test_from_the_store_to_the_curated_tables(tmp_path: Path, incidents: Dataset) -> None:
    town = Town.at(tmp_path)
    hour = timedelta(hours=1)
    first = town.write(incident(-24 * 60))  # yesterday
    done = town.write(resolved(first, Resolution.FIXED, hour), first)
    town.write(reopened(done, 23 * hour), done)  # today
    other = town.write(incident(0, category="waste", reported_by=None))
    town.write(resolved(other, Resolution.NOT_FIXED, hour), other)
    exported(town, "one")
    platform = local_platform(tmp_path, town.clock, threads=1)
    assert freshness.partitions(platform, incidents) == [YESTERDAY, TODAY]
    for day in (YESTERDAY, TODAY):
        assert freshness.outdated(platform, incidents, day)[0] == "raw"
        for layer in (raw, cleaned, quality_checked, curated, encrypted):
            layer.materialize(platform, incidents, day)
        assert freshness.outdated(platform, incidents, day) == ()
    [row] = summary(platform, YESTERDAY)
    assert (row["Status"], row["Incidents"], row["Changes"], row["Closed"], row["Fixed"]) == ("resolved", 1, 2, 1, 1)
    assert Counter((row["Category"], row["Status"], row["Reopened"]) for row in summary(platform, TODAY)) == Counter(
        [("road_damage", "reopened", 1), ("waste", "resolved", 0)]
    )
    assert "/day=" in platform.lake.require("curated", "incidents", TODAY).parts["parquet"][0].key

    # A figure leads to the changes it counts, and each change to its export.
    asked = Asked({"Category": "road_damage"}, "Fixed", rows=5)
    found = trace(platform, incidents, YESTERDAY, asked)
    assert found.found is not None
    assert (found.found.total, found.found.counted, found.found.condition) == (2, 1, "Closed AND resolution = 'fixed'")
    assert found.differing == ()
    exports = platform.lake.require("exports", "incidents", YESTERDAY).parts["parquet"]
    assert [(one.name, one.sha256) for one in found.partitions[0].sources] == [
        (one.key.rpartition("/")[2], one.sha256) for one in exports
    ]
    assert {one.source for one in found.shown} <= {one.name for one in found.partitions[0].sources}

    # A change that comes late makes its day outdated, and only that one.
    town.write(incident(-23 * 60, category="noise"))
    exported(town, "two")
    assert freshness.outdated(platform, incidents, TODAY) == ()
    assert freshness.outdated(platform, incidents, YESTERDAY)[0] == "raw"
    for layer in (raw, cleaned, quality_checked, curated):
        layer.materialize(platform, incidents, YESTERDAY)
    assert freshness.outdated(platform, incidents, TODAY) == ()
    assert platform.lake.require("cleaned", "incidents", YESTERDAY).counts["rows"] == 3
    assert len(summary(platform, YESTERDAY)) == 2

    _, answers = questions.materialize(platform, incidents)
    told = {one.question.name: [dict(zip(one.headers, row, strict=True)) for row in one.rows] for one in answers}
    assert all(sum(int(row["Incidents"]) for row in found) == 3 for found in told.values())
    [central] = told["by_region"]
    assert (central["Region"], central["Open"], central["Closed"], central["Fixed"]) == ("central", 2, 1, 0)
    assert "citizen-1" not in str(told["by_reporter"])
    assert {row["Reporter"] == "anonymous": row["Incidents"] for row in told["by_reporter"]} == {True: 1, False: 2}


def test_a_count_of_the_public_leads_to_the_changes(tmp_path: Path) -> None:
    town = Town.at(tmp_path)
    first = town.write(incident(-24 * 60))
    town.write(resolved(first, Resolution.FIXED, timedelta(hours=1)), first)
    town.write(incident(0, category="waste"))
    town.write(incident(5, category="waste", visibility=Visibility.PRIVATE))  # nobody counts it
    exported(town, "one")
    platform = local_platform(tmp_path, town.clock, threads=1)
    with pytest.raises(NotPublished, match="city-platform open-data publish"):
        trace_count(platform, {}, 0)
    open_incidents.publish(platform.lake, open_incident_service(platform, town.store, {}))
    everything = trace_count(platform, {}, 0)
    assert (everything.total, everything.borne_out, everything.reports) == (2, True, ())
    found = trace_count(platform, {"status": "resolved", "category": first.category}, 5)
    assert (found.total, found.borne_out) == (1, True)
    [report] = found.reports
    assert report.service_request_id == first.incident_id
    assert [(one.version, one.event) for one in report.changes] == [(1, "INSERT"), (2, "MODIFY")]
    for one in report.changes:
        path = platform.lake.store.local_path(one.file)
        row = pq.read_table(path).slice(one.row, 1).to_pylist()[0]
        assert (row["incident_id"], row["version"]) == (first.incident_id, one.version)
        assert found.exports[one.file] == sha256_of(path)
    with pytest.raises(NoSuchValue, match="there are: reported, resolved"):
        trace_count(platform, {"status": "closed"}, 0)
    answer = CliRunner().invoke(
        command, ["incidents", "trace", "--category", "waste", "--rows", "3", "--home", str(tmp_path)]
    )
    assert answer.exit_code == 0, answer.output
    assert "Public incidents, category waste: 1" in answer.output
    answer = CliRunner().invoke(
        command, ["incidents", "trace", "--category", "wast", "--home", str(tmp_path), "--json"]
    )
    assert (answer.exit_code, "there are: " in json.loads(answer.stdout)["error"]) == (2, True)

    # A file that was written over has other rows than its manifest counts.
    manifest = platform.lake.require("open_data", "incidents", str(NOW.year))
    (file,) = platform.lake.paths(manifest, "parquet")
    rows = pq.read_table(file)
    file.chmod(0o600)
    pq.write_table(rows.slice(0, 1), file)
    assert not trace_count(platform, {}, 0).borne_out


def test_dagster_makes_the_days_and_what_all_days_tell(tmp_path: Path) -> None:
    town = Town.at(tmp_path)
    begun = town.write(incident(-60))
    town.write(resolved(begun, Resolution.FIXED, timedelta(minutes=30)), begun)
    town.write(incident(0))
    exported(town, "one")
    shutil.copytree(ROOT / "datasets" / "incidents", tmp_path / "datasets" / "incidents")
    city = build_definitions(tmp_path, tmp_path / "datasets")
    repository = city.get_repository_def()
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with dg.DagsterInstance.ephemeral() as instance:
        resource = {"platform": PlatformResource(home=str(tmp_path))}
        asked: dict[str, dg.RunRequest] = {}
        cursor: str | None = None
        for _ in range(4):  # the clock of a code location is today's, and the changes are of March
            context = dg.build_sensor_context(instance, cursor, repository_def=repository, resources=resource)
            result = repository.get_sensor_def("incidents_exports").evaluate_tick(context)
            asked |= {str(one.partition_key): one for one in result.run_requests or []}
            assert {event.partition for event in result.asset_events} <= set(asked)
            cursor = result.cursor
        assert set(asked) == {TODAY}
        for request in asked.values():
            job = city.resolve_job_def("materialize_incidents")
            assert job.execute_in_process(
                partition_key=request.partition_key,
                asset_selection=list(request.asset_selection or []),
                run_config=quiet,
                instance=instance,
            ).success
        done = city.resolve_job_def("analyse_incidents").execute_in_process(run_config=quiet, instance=instance)
        assert done.success
        [check] = done.get_asset_check_evaluations()
        assert (check.check_name, check.passed, check.severity) == (
            "counts_are_usual",
            True,
            dg.AssetCheckSeverity.WARN,
        )
        [told] = done.asset_materializations_for_node("incidents__statistics")
        assert "| all | 2 | 1 | 1 | 1 | 0.5 | 1.0 | 0.0 | 0.0208 | 0.0208 |" in str(told.metadata["all"].value)


def test_what_people_read_speaks_of_days(tmp_path: Path, incidents: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """A partition of incidents is a day, and nothing says year of it."""
    town = Town.at(tmp_path)
    town.write(incident(0))
    exported(town, "one")
    platform = local_platform(tmp_path, town.clock, threads=1)
    for layer in (raw, cleaned, quality_checked):
        layer.materialize(platform, incidents, TODAY)
    monkeypatch.setenv("CITY_PLATFORM_HOME", str(tmp_path))
    for words in (
        ["status"],
        ["changes", "incidents"],
        ["quality", "review", "incidents"],
        ["rules", "explain", "incidents"],
    ):
        done = CliRunner().invoke(command, words, env={"COLUMNS": "200"})
        assert isinstance(done.exception, SystemExit | None), done.exception
        assert re.search(r"\bday\b", done.stdout), (words, done.stdout)
        assert not re.search(r"\byears?\b", done.stdout.casefold()), (words, done.stdout)
