"""Nobody publishes data that failed its gate: not in the same run, not in a later one, not by a backfill."""

from pathlib import Path

import dagster as dg
import pytest

from city_platform.datasets import Dataset
from city_platform.layers import cleaned, curated, encrypted, landing, quality_checked, raw
from city_platform.layers.freshness import outdated
from city_platform.layers.platform import Platform
from city_platform.quality.gate import GateClosed
from definitions import build_definitions
from tests.town import FIXTURES, bad_trees, good_trees, trees_csv

LAYERS = ["raw", "cleaned", "quality_checked", "rejected", "curated", "encrypted"]


@pytest.fixture
def landed(platform: Platform, trees: Dataset, tmp_path: Path) -> Platform:
    """2023 is good, 2024 is bad."""
    landing.land(platform, trees, trees_csv(tmp_path / "trees.csv", [*good_trees(2023), *bad_trees(2024)]))
    return platform


def run(home: Path, instance: dg.DagsterInstance, year: str, layers: list[str]) -> dg.ExecuteInProcessResult:
    job = build_definitions(home, FIXTURES).resolve_job_def("materialize_trees")
    return job.execute_in_process(
        instance=instance,
        partition_key=year,
        asset_selection=[dg.AssetKey(["trees", layer]) for layer in layers],
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        raise_on_error=False,
    )


def published(platform: Platform, year: str) -> list[str]:
    return [layer for layer in LAYERS if platform.lake.latest(layer, "trees", year)]


def failure(result: dg.ExecuteInProcessResult) -> str:
    return " ".join(
        event.step_failure_data.user_failure_data.description
        for event in result.all_events
        if event.is_step_failure and event.step_failure_data.user_failure_data is not None
    )


def test_within_one_run_a_failing_rule_stops_what_is_behind_it(landed: Platform, home: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        good = run(home, instance, "2023", LAYERS)
        bad = run(home, instance, "2024", LAYERS)
    assert good.success
    assert published(landed, "2023") == LAYERS
    assert not bad.success
    assert published(landed, "2024") == ["raw", "cleaned", "quality_checked", "rejected"]


def test_a_later_run_of_the_downstream_alone_is_refused(landed: Platform, home: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run(home, instance, "2024", LAYERS)
        for layer in ("curated", "encrypted"):
            later = run(home, instance, "2024", [layer])
            assert not later.success
            assert "completeness" in failure(later).lower()
    assert published(landed, "2024") == ["raw", "cleaned", "quality_checked", "rejected"]


def test_a_backfill_publishes_the_good_year_and_refuses_the_bad_one(landed: Platform, home: Path) -> None:
    # One partition a run is what a backfill makes; the web interface's own backfill is in test_up.py.
    with dg.DagsterInstance.ephemeral() as instance:
        for year in ("2023", "2024"):
            run(home, instance, year, ["raw", "cleaned", "quality_checked", "rejected"])
        outcomes = {year: run(home, instance, year, ["curated", "encrypted"]).success for year in ("2023", "2024")}
    assert outcomes == {"2023": True, "2024": False}
    assert published(landed, "2023") == LAYERS
    assert "curated" not in published(landed, "2024")


def test_a_verdict_does_not_cover_newer_data(platform: Platform, trees: Dataset, tmp_path: Path) -> None:
    landing.land(platform, trees, trees_csv(tmp_path / "a.csv", good_trees(2024)))
    for layer in (raw, cleaned, quality_checked, curated):
        layer.materialize(platform, trees, "2024")
    before = platform.lake.require("curated", "trees", "2024")
    landing.land(platform, trees, trees_csv(tmp_path / "b.csv", good_trees(2024, count=28)))
    for layer in (raw, cleaned):
        layer.materialize(platform, trees, "2024")
    for refused in (curated, encrypted):
        with pytest.raises(GateClosed, match="other data"):
            refused.materialize(platform, trees, "2024")
    assert platform.lake.require("curated", "trees", "2024") == before


def test_a_verdict_does_not_cover_other_rules(platform: Platform, trees: Dataset, tmp_path: Path) -> None:
    import dataclasses

    landing.land(platform, trees, trees_csv(tmp_path / "a.csv", good_trees(2024)))
    for layer in (raw, cleaned, quality_checked):
        layer.materialize(platform, trees, "2024")
    stricter = dataclasses.replace(trees, ruleset_hash="f" * 64)
    with pytest.raises(GateClosed, match="ruleset"):
        curated.materialize(platform, stricter, "2024")


def test_no_verdict_is_no_permission(platform: Platform, trees: Dataset, tmp_path: Path) -> None:
    landing.land(platform, trees, trees_csv(tmp_path / "a.csv", good_trees(2024)))
    for layer in (raw, cleaned):
        layer.materialize(platform, trees, "2024")
    with pytest.raises(GateClosed, match="no verdict"):
        curated.materialize(platform, trees, "2024")


def test_mended_data_opens_the_gate_again(landed: Platform, trees: Dataset, tmp_path: Path) -> None:
    for layer in (raw, cleaned, quality_checked):
        layer.materialize(landed, trees, "2024")
    assert outdated(landed, trees, "2024") == ()  # behind a closed gate nothing is outdated: nothing would change
    landing.land(landed, trees, trees_csv(tmp_path / "trees.csv", [*good_trees(2023), *good_trees(2024)]))
    assert outdated(landed, trees, "2024") == ("raw", "cleaned", "quality_checked", "curated", "encrypted")
    for layer in (raw, cleaned, quality_checked, curated, encrypted):
        layer.materialize(landed, trees, "2024")
    assert outdated(landed, trees, "2024") == ()
    assert published(landed, "2024") == LAYERS
