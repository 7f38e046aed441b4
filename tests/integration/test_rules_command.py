"""Rules tried on a file: what the lake would say of it, and nothing of it in the lake."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from city_platform.cli.app import app
from city_platform.cli.rules import lint_dataset
from city_platform.datasets import Dataset, load_datasets
from city_platform.errors import InvalidDefinition
from city_platform.layers import cleaned, landing, quality_checked, raw
from city_platform.layers.platform import Platform
from city_platform.layers.trial import try_rules, with_rules
from city_platform.local.platform import local_platform
from city_platform.local.store import LocalObjectStore
from city_platform.samples import generate
from tests.town import FIXTURES, StandingClock, bad_trees, good_trees, trees_csv

LICENCES = "business_licences"


@pytest.fixture
def dataset() -> Dataset:
    return load_datasets(FIXTURES)[0]


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return local_platform(tmp_path / "home", StandingClock(), threads=2)


def objects(platform: Platform) -> dict[str, int]:
    return {key: platform.lake.store.size(key) for key in platform.lake.store.keys("")}


def test_a_trial_says_what_the_lake_will_say_and_leaves_no_trace(
    platform: Platform, dataset: Dataset, tmp_path: Path
) -> None:
    landing.land(platform, dataset, trees_csv(tmp_path / "old.csv", good_trees(2024, 50)))
    file = trees_csv(tmp_path / "new.csv", [*good_trees(2023), *bad_trees(2024)])
    before = objects(platform)
    trial = try_rules(platform, dataset, file, LocalObjectStore(platform.lake.store.scratch() / "upper"))
    assert objects(platform) == before
    assert trial.source.rows == 40  # the other source of the lake is not judged with it
    assert [(one.partition, one.verdict.passed) for one in trial.partitions] == [("2023", True), ("2024", False)]

    alone = local_platform(tmp_path / "another", platform.clock, threads=2)
    landing.land(alone, dataset, file)
    for one in trial.partitions:
        raw.materialize(alone, dataset, one.partition)
        cleaned.materialize(alone, dataset, one.partition)
        verdict = quality_checked.verdict_of(quality_checked.materialize(alone, dataset, one.partition)[0])
        assert verdict is not None
        assert one.verdict.results == verdict.results
        assert (one.verdict.rows, one.verdict.rows_failed) == (verdict.rows, verdict.rows_failed)


def test_other_rules_are_checked_before_they_are_tried(platform: Platform, dataset: Dataset, tmp_path: Path) -> None:
    text = 'Rules = [ RowCount > 100, IsComplete "Species" labels=["action"="quarantine"] ]'
    changed = with_rules(dataset, text, "draft.dqdl")
    file = trees_csv(tmp_path / "trees.csv", bad_trees(2024))
    upper = LocalObjectStore(platform.lake.store.scratch() / "upper")
    trial = try_rules(platform, changed, file, upper, failed_to=tmp_path / "failed.csv")
    [tried] = trial.partitions
    assert [(one.outcome, one.rows_failed) for one in tried.verdict.results] == [("FAIL", None), ("FAIL", 10)]
    written = (tmp_path / "failed.csv").read_text("utf-8")
    assert len(written.splitlines()) == 11
    assert (tmp_path / "failed.csv").stat().st_mode & 0o777 == 0o600
    assert "Sam Poole" not in written + json.dumps(tried.to_json())  # the planter is personal
    assert "(personal)" in written
    with pytest.raises(InvalidDefinition, match="no column"):
        with_rules(dataset, 'Rules = [ IsComplete "Colour" ]', "draft.dqdl")
    with pytest.raises(InvalidDefinition, match="no dataset"):
        with_rules(dataset, 'Rules = [ RowCountMatch "shrubs" = 1.0 labels=["action"="warn"] ]', "draft.dqdl")


def test_the_commands_answer_machines_and_exit_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITY_PLATFORM_HOME", str(tmp_path / "home"))
    # The folders are read once for all calls.
    monkeypatch.setattr("city_platform.datasets.load_datasets", cache(load_datasets))

    def call(*arguments: object) -> tuple[int, dict[str, object]]:
        done = CliRunner().invoke(app, [*map(str, arguments), "--json"])
        return done.exit_code, json.loads(done.stdout)

    file, draft = tmp_path / "licences.csv", tmp_path / "draft.dqdl"
    generate(LICENCES, file, 300, 3, (2024,))
    code, told = call("rules", "test", LICENCES, file)
    assert (code, told["gate"], told["rows"]) == (0, "open", 300)

    draft.write_text('Rules = [ Completeness "Status" >= 95, ColumnValues "City" matches "^VAN" ]')
    code, told = call("rules", "lint", LICENCES, "--rules", draft)
    findings = told["findings"]
    assert isinstance(findings, list)
    assert (code, [one["code"] for one in findings]) == (1, ["never-holds", "anchored-match"])
    assert call("rules", "test", LICENCES, file, "--rules", draft)[0] == 1
    draft.write_text('Rules = [ ColumnValues "City" matches "^VAN" ]')
    assert call("rules", "lint", LICENCES, "--rules", draft)[0] == 0
    assert call("rules", "lint", LICENCES, "--rules", draft, "--strict")[0] == 1
    draft.write_text("Rules = [ RowCount > ]")
    assert call("rules", "lint", LICENCES, "--rules", draft)[0] == 1
    assert call("rules", "test", LICENCES, file, "--rules", draft)[0] == 3
    assert call("rules", "test", LICENCES, tmp_path / "absent.csv")[0] == 3
    assert call("rules", "test", "nothing", file)[0] == 2
    assert call("rules", "lint", "--rules", draft)[0] == 2
    file.write_bytes(b"")
    assert call("rules", "test", LICENCES, file)[0] == 3

    code, told = call("rules", "explain", LICENCES)
    rules = told["rules"]
    assert isinstance(rules, list)
    assert (code, rules[1]["sentence"]) == (0, "The share of rows with a value in Status has to be at least 95 %.")
    code, told = call("datasets", "check")
    warnings = told["warnings"]
    assert isinstance(warnings, list)
    assert (code, told["mistakes"], [one["code"] for one in warnings]) == (
        0,
        [],
        ["vacuous-threshold", "inverted-freshness"],
    )


def test_a_rule_of_the_gate_that_can_never_hold_is_a_mistake(dataset: Dataset) -> None:
    changed = with_rules(dataset, 'Rules = [ RowCount > 10, Completeness "Species" > 95 ]', "rules.dqdl")
    wrong, suspicious = lint_dataset(changed)
    assert ([one.code for one in wrong], suspicious) == (["never-holds"], [])
    wrong, suspicious = lint_dataset(replace(dataset, advisory=(("draft", changed.rules),)))
    assert (wrong, [one.code for one in suspicious]) == ([], ["never-holds"])
