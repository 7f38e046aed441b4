"""The steward's commands over a real lake, and what Dagster tells and scores beside them."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

import runner
from city_platform.cli import session as cli_session
from city_platform.cli.app import app
from city_platform.cli.quality import expiry
from city_platform.datasets import Dataset
from city_platform.deployment.events import open_event_log
from city_platform.events import read
from city_platform.governance.events import QualityGateFailed
from city_platform.layers import cleaned, curated, failures, landing, quality_checked, raw
from city_platform.layers.platform import Platform
from city_platform.local.clock import SystemClock
from city_platform.local.event_bus import SqliteEventBus
from city_platform.local.platform import local_platform
from city_platform.ports import BusEvent, EventBusUnavailable
from city_platform.quality.gate import GateClosed
from definitions import build_definitions
from resources.platform import PlatformResource
from tests.town import FIXTURES, ROOT, Tree, bad_trees, good_trees, trees_csv

RULE = "completeness_species"
WHY = ("--actor", "parks-steward", "--reason", "the nursery confirmed that these are unknown")
CANARY = "Zanzibar Quillfeather"
STEP = {
    "Action": {
        "Operation": "REPLACE_TEXT",
        "Parameters": {"sourceColumn": "Height", "pattern": "^-(.*)$", "value": "$1"},
    }
}


@pytest.fixture
def town(home: Path, trees: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """2023 is good; in 2024 every second species is missing and one height is negative. The time is the machine's."""
    monkeypatch.setattr(cli_session, "CHECKOUT", FIXTURES.parent)
    monkeypatch.setattr(runner, "build_definitions", lambda home: build_definitions(home, FIXTURES))
    platform = local_platform(home, threads=2)
    negative: Tree = (1, "Acer rubrum", "2024-06-01", "-3", CANARY)
    rows = [*good_trees(2023), *bad_trees(2024), negative]
    landing.land(platform, trees, trees_csv(tmp_path / "trees.csv", rows))
    for year in ("2023", "2024"):
        for layer in (raw, cleaned, quality_checked):
            layer.materialize(platform, trees, year)
    return platform


def call(home: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(app, [*arguments, "--home", str(home), "--json"])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert CANARY not in done.output
    return done.exit_code, json.loads(done.stdout.splitlines()[-1])


def lake_without_log(platform: Platform) -> list[str]:
    return [key for key in platform.lake.store.keys("") if not key.startswith("audit")]


def evaluations(home: Path) -> list[dg.AssetCheckEvaluation]:
    """What Dagster holds of the rule's check, the newest first."""
    key = dg.AssetCheckKey(dg.AssetKey(["trees", "quality_checked"]), RULE)
    records = runner._instance(home).event_log_storage.get_asset_check_execution_history(key, limit=2)
    events = [record.event.dagster_event for record in records if record.event is not None]
    return [event.asset_check_evaluation_data for event in events if event is not None]


def test_from_a_failed_row_to_a_released_year(town: Platform, home: Path) -> None:
    code, told = call(home, "quality", "review", "trees", "2024", "--rows", "100")
    (year,) = told["partitions"]
    assert (code, year["gate"]) == (1, "closed")
    assert year["failed_rules"][0]["rule_id"] == RULE
    assert len(year["failed_rows"]) == year["rows_failed"] == 11
    (negative,) = [row for row in year["failed_rows"] if row["values"].get("Height") == "-3.00"]
    assert negative["source"] == "trees.csv"
    assert negative["values"] == {"TreeID": "1", "Height": "-3.00"}
    assert any(f"waive trees 2024 --rule {RULE}" in one for one in year["next_steps"])
    assert all("--actor parks-steward " in one for one in year["next_steps"])

    before = lake_without_log(town)
    code, told = call(
        home, "quality", "waive", "trees", "2024", "--rule", RULE, "--expires", "7d", "--actor", "me", *WHY[2:]
    )
    assert (code, "only parks-steward may" in told["error"]) == (2, True)
    assert call(home, "quality", "waive", "trees", "2024", "--rule", RULE, "--expires", "soon", *WHY)[0] == 2
    code, told = call(home, "quality", "waive", "trees", "2024", "--rule", "has_rows", "--expires", "7d", *WHY)
    assert (code, "has_rows does not close the gate" in told["error"]) == (3, True)
    assert lake_without_log(town) == before
    code, told = call(home, "quality", "release", "trees", "2024", *WHY)
    assert (code, told["gate"]) == (1, "closed")
    assert [key for key in lake_without_log(town) if "curated" in key or "encrypted" in key] == []

    code, told = call(home, "quality", "waive", "trees", "2024", "--rule", RULE, "--expires", "7d", *WHY)
    assert (code, told["gate"]) == (0, "waived")
    code, told = call(home, "quality", "release", "trees", "2024", *WHY)
    assert (code, told["gate"], told["failure"]) == (0, "waived", None)
    assert town.lake.require("encrypted", "trees", "2024").counts["rows"] == 10
    after, before_it = evaluations(home)
    assert (before_it.passed, before_it.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert (after.passed, after.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert {after.metadata[f"waived {word}"].value for word in ("by", "because")} == {WHY[1], WHY[3]}
    assert datetime.fromisoformat(str(after.metadata["waived until"].value)) > datetime.now(UTC)
    code, told = call(home, "quality", "review", "trees")
    assert (code, [one["gate"] for one in told["partitions"]]) == (0, ["open", "waived"])

    code, told = call(home, "audit", "show", "--dataset", "trees")
    assert [entry["action"] for entry in told["entries"]] == ["refused", "release", "waive", "release"]
    code, told = call(home, "audit", "verify")
    assert (code, told["entries"], told["intact"]) == (0, 4, True)
    town.lake.store.delete("audit/0000000004.json")
    code, told = call(home, "audit", "verify")
    assert (code, told["breaks"]) == (1, ["entry 4 is gone, which the head of the log names"])
    assert call(home, "quality", "review", "trees", "2024")[1]["partitions"][0]["gate"] == "closed"

    code, told = call(home, "status")
    gates = {year["partition"]: year["gate"] for year in told["partitions"]}
    assert (code, gates) == (1, {"2023": "open", "2024": "closed"})
    code, told = call(home, "quality", "scorecard", "--html", str(home / "card.html"))
    assert (code, told["audit_doubts"]) == (1, ["entry 4 is gone, which the head of the log names"])
    assert "trees 2024" in (home / "card.html").read_text()


def test_a_rejected_year_stays_rejected(town: Platform, home: Path, trees: Dataset) -> None:
    code, told = call(home, "quality", "reject", "trees", "2023", *WHY)
    assert (code, told["rejection"]["partition"]) == (0, "2023")
    code, told = call(home, "quality", "review", "trees", "2023")
    assert (code, told["partitions"][0]["gate"]) == (1, "rejected")
    assert call(home, "quality", "reject", "trees", "2023", *WHY)[0] == 3
    with pytest.raises(GateClosed, match="never passes"):
        curated.materialize(town, trees, "2023")


def test_a_proposal_is_a_patch_that_does_what_it_promises(
    town: Platform, home: Path, trees: Dataset, tmp_path: Path
) -> None:
    before = lake_without_log(town)
    wrong = {
        "Action": {"Operation": "REPLACE_TEXT", "Parameters": {"sourceColumn": "Hight", "pattern": "(", "value": ""}}
    }
    code, told = call(home, "quality", "propose", "trees", "2024", "--step", json.dumps(wrong), *WHY)
    assert (code, "Hight" in told["error"]) == (3, True)
    step = tmp_path / "step.json"
    step.write_text(json.dumps(STEP))
    code, told = call(home, "quality", "propose", "trees", "2024", "--step", f"@{step}", *WHY)
    assert code == 0, told
    effect = told["effect"]
    assert (effect["failed_before"], effect["mended"], effect["gone"], effect["newly_failing"]) == (11, 1, 0, 0)
    assert effect["changes"] == [{"source": 0, "row": effect["changes"][0]["row"], "column": "Height",
                                  "before": "-3.00", "after": "3.00"}]  # fmt: skip
    assert [one["rule"] for one in effect["rules"]] == ["column_values_height"]
    assert lake_without_log(town) == before
    assert (trees.folder / "recipe.json").read_text() == (FIXTURES / "trees" / "recipe.json").read_text()

    copy = tmp_path / "checkout" / "datasets" / "trees"
    copy.mkdir(parents=True)
    copy.joinpath("recipe.json").write_bytes((trees.folder / "recipe.json").read_bytes())
    subprocess.run(["git", "apply", told["patch"]], cwd=tmp_path / "checkout", check=True)  # noqa: S607 -- git of the path
    steps = json.loads(copy.joinpath("recipe.json").read_text())
    assert steps[told["position"] - 1] == STEP
    assert steps[told["position"]]["Action"]["Parameters"]["sourceColumn"] == "Height"  # before it gets its type
    assert (Path(told["patch"]).stat().st_mode & 0o777) == 0o600


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("90m", "2026-03-09T18:00:00+00:00"),
        ("7d", "2026-03-16T16:30:00+00:00"),
        ("2w", "2026-03-23T16:30:00+00:00"),
        ("2026-03-31", "2026-04-01T07:00:00+00:00"),  # the end of that day in Vancouver
        ("2026-03-31T17:00", "2026-04-01T00:00:00+00:00"),
        ("2026-03-31T17:00Z", "2026-03-31T17:00:00+00:00"),
        ("0d", None),
        ("-1d", None),
        ("1y", None),
        ("2026-02-30", None),
        ("9999-12-31", None),
        ("", None),
    ],
)
def test_a_waiver_ends_when_it_says(text: str, ends: str | None) -> None:
    found = expiry(text, datetime(2026, 3, 9, 16, 30, tzinfo=UTC), "America/Vancouver")
    assert (found.astimezone(UTC).isoformat() if found else None) == ends


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def test_a_closed_gate_is_told_once_and_again_when_its_waiver_ends(
    town: Platform, home: Path, instance: dg.DagsterInstance
) -> None:
    repository = build_definitions(home, FIXTURES).get_repository_def()
    sensor = repository.get_sensor_def("quality_failures")

    def told() -> list[str]:
        """What people have heard in all after another tick, of a daemon that remembers nothing."""
        resources = {"platform": PlatformResource(home=str(home))}
        context = dg.build_sensor_context(instance, repository_def=repository, resources=resources)
        sensor.evaluate_tick(context)
        lines = (home / "notifications.jsonl").read_text().splitlines()
        return [json.loads(line)["subject"] for line in lines]

    closed = "trees 2024: the gate is closed"
    assert told() == [closed]
    assert told() == [closed]
    waive = ("quality", "waive", "trees", "2024", "--rule", RULE)
    _, waived = call(home, *waive, "--expires", "7d", *WHY)
    assert told() == [closed]
    # A newer waiver that is over as soon as it is given, since nobody can wait for a week.
    soon = datetime.now(UTC) + timedelta(seconds=1)
    assert call(home, *waive, "--expires", soon.isoformat(), *WHY)[0] == 0
    while datetime.now(UTC) < soon:
        pass
    assert told() == [closed, f"{closed} after a waiver ended"]
    assert told() == [closed, f"{closed} after a waiver ended"]
    town.lake.store.delete(f"audit/{waived['waiver']['number']:010d}.json")
    assert told()[2:3] == ["The audit log was tampered with"]
    assert CANARY not in (home / "notifications.jsonl").read_text()
    # Whoever subscribed heard of the same gates, each once, and everybody sees it.
    received = open_event_log(home, SystemClock()).receive("test", 9)
    first, second = (read(one.event, {"QualityGateFailed": QualityGateFailed}) for one in received)
    assert [(one.because, one.rules, one.rules_failed) for one in (first, second)] == [
        ("rules", [RULE], 1),
        ("waiver_ended", [RULE], 1),
    ]
    assert (first.dataset, first.partition, first.data_version) == ("trees", "2024", second.data_version)
    assert first.alert_id != second.alert_id
    assert first.failed_at < second.failed_at
    assert Path(first.links.verdict.removeprefix("file://")).is_file()
    assert CANARY not in "".join(one.event.detail for one in received)
    _, shown = call(home, "traffic", "alerts")
    assert [(one["event"], one["where"], one["to"]) for one in shown["events"]] == [
        ("QualityGateFailed", "trees 2024", "closed")
    ] * 2


def test_a_bus_that_is_out_holds_no_notice_back_and_has_none_sent_twice(town: Platform, trees: Dataset) -> None:
    class Out:
        """Takes nothing."""

        def publish(self, events: Sequence[BusEvent]) -> Sequence[EventBusUnavailable]:
            return [EventBusUnavailable("busy") for _ in events]

    bus = Out()
    for _ in range(2):
        with pytest.raises(EventBusUnavailable):
            failures.tell(town, bus, [trees], 9)
    log = SqliteEventBus(town.lake.store.scratch() / "events.sqlite", town.clock)
    assert failures.tell(town, log, [trees], 9) == 0
    assert len(log.receive("test", 9)) == 1


def test_the_scorecard_is_an_asset(town: Platform, home: Path, instance: dg.DagsterInstance) -> None:
    call(home, "quality", "waive", "trees", "2024", "--rule", RULE, "--expires", "7d", *WHY)
    job = build_definitions(home, FIXTURES).resolve_job_def("scorecard")
    result = job.execute_in_process(instance=instance)
    (made,) = result.asset_materializations_for_node("governance__scorecard")
    told = made.metadata
    assert told["score/trees"].value == pytest.approx(100 * (4 + 1) / 8)
    assert (told["gates closed"].value, told["waivers in force"].value) == (0, 1)
    assert str(told["audit head"].value).startswith("1:")
    assert "data:image/png;base64,iVBOR" in str(told["scores over time"].value)
    assert "trees 2024" in str(told["scorecard"].value)
    (year,) = town.lake.partitions("scorecard", "governance")
    manifest = town.lake.require("scorecard", "governance", year)
    (file,) = town.lake.paths(manifest, "json")
    card = json.loads(file.read_text())
    assert [(one["partition"], one["gate"], one["score"]) for one in card["partitions"]] == [
        ("2023", "open", 1.0),
        ("2024", "waived", 0.25),
    ]
    (page,) = town.lake.paths(manifest, "html")
    assert "<svg" in page.read_text()
    assert CANARY not in str(told) + file.read_text() + page.read_text()


def test_the_real_datasets_name_their_stewards() -> None:
    from city_platform.datasets import load_datasets
    from city_platform.governance.roles import stewards

    today = datetime.now(UTC).date()
    without = [one.name for one in load_datasets(ROOT / "datasets") if not stewards(one.contract, today)]
    assert without == []
