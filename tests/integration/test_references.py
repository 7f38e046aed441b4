"""Contracts between datasets, and rules that compare with earlier years: what changes is judged again."""

import shutil
from pathlib import Path

import dagster as dg
import pytest

from city_platform.datasets import Dataset, in_order_of_reference, load_datasets
from city_platform.errors import InvalidDefinition
from city_platform.governance.history import EvaluationHistory
from city_platform.layers import cleaned, curated, gated, landing, quality_checked, raw
from city_platform.layers.freshness import outdated, work_key
from city_platform.layers.platform import Platform
from city_platform.quality.gate import GateClosed
from city_platform.quality.verdict import Verdict
from definitions import build_definitions
from sensors.outdated import outdated_requests
from tests.town import FIXTURES, Tree, good_trees, trees_csv

RULES = """Rules = [
    ReferentialIntegrity "TreeID" "trees.TreeID" = 1.0 labels=["action"="quarantine", "name"="tree_known"],
    RowCountMatch "trees" >= 0.5 labels=["action"="halt"],
    AggregateMatch "sum(Height)" "sum(trees.Height)" > 0 labels=["action"="warn"],
    SchemaMatch "trees" = 1.0 labels=["action"="warn"],
    RowCount >= last() labels=["action"="warn", "name"="not_fewer"],
    FileSize > 1 B labels=["action"="warn"]
]"""


def with_prunings(folder: Path, rules: str = RULES) -> Path:
    """The town's datasets and a second one, whose rows have to be about trees that exist."""
    shutil.copytree(FIXTURES, folder)
    shutil.copytree(folder / "trees", folder / "prunings")
    contract = folder / "prunings" / "contract.yaml"
    text = contract.read_text(encoding="utf-8").replace("name: trees", "name: prunings")
    contract.write_text(text.replace("dataset:trees", "dataset:prunings"), encoding="utf-8")
    (folder / "prunings" / "rules.dqdl").write_text(rules, encoding="utf-8")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return with_prunings(tmp_path / "datasets")


@pytest.fixture
def both(folder: Path) -> tuple[Dataset, Dataset]:
    """Prunings, then the trees they are about."""
    prunings, trees = load_datasets(folder)
    return prunings, trees


def land(platform: Platform, dataset: Dataset, folder: Path, rows: list[Tree]) -> None:
    landing.land(platform, dataset, trees_csv(folder / f"{dataset.name}.csv", rows))


def judge(platform: Platform, dataset: Dataset, year: str) -> Verdict:
    for layer in (raw, cleaned):
        layer.materialize(platform, dataset, year)
    verdict = quality_checked.verdict_of(quality_checked.materialize(platform, dataset, year)[0])
    assert verdict is not None
    return verdict


def outcomes(verdict: Verdict) -> dict[str, str]:
    return {result.rule_id: result.outcome.value for result in verdict.results}


def test_a_changed_reference_is_other_work_and_closes_the_gate_until_it_is_done(
    platform: Platform, both: tuple[Dataset, Dataset], tmp_path: Path
) -> None:
    prunings, trees = both
    land(platform, prunings, tmp_path, good_trees(2024))
    alone = judge(platform, prunings, "2024")
    assert outcomes(alone)["tree_known"] == outcomes(alone)["row_count_match"] == "ERROR"
    assert "bring trees up to date" in alone.results[0].reason
    assert not alone.passed
    assert outdated(platform, prunings, "2024") == ()  # nothing would change
    before = work_key(platform, prunings, "2024")

    land(platform, trees, tmp_path, [*good_trees(2023), *good_trees(2024)])
    for year in ("2023", "2024"):
        judge(platform, trees, year)
    assert outdated(platform, prunings, "2024") == ("quality_checked", "curated", "encrypted")
    assert work_key(platform, prunings, "2024") != before
    found = judge(platform, prunings, "2024")
    assert outcomes(found) == {
        "tree_known": "PASS",
        "row_count_match": "PASS",
        "aggregate_match": "PASS",
        "schema_match": "PASS",
        "not_fewer": "WARN",
        "file_size": "PASS",
    }
    assert set(found.rests_on) == {"reference trees (all)", "reference trees (partition)", "history"}
    curated.materialize(platform, prunings, "2024")
    assert outdated(platform, prunings, "2024") == ("encrypted",)

    # A tree that is gone, and one that fails a rule of its own, are no trees to be pruned.
    _lost, doubtful, *rest = good_trees(2024)
    land(platform, trees, tmp_path, [*good_trees(2023), (doubtful[0], None, *doubtful[2:]), *rest])
    judge(platform, trees, "2024")
    assert outdated(platform, prunings, "2024") == ("quality_checked", "curated", "encrypted")
    with pytest.raises(GateClosed, match=r"reference trees \(all\), reference trees \(partition\)"):
        curated.materialize(platform, prunings, "2024")
    with dg.DagsterInstance.ephemeral() as instance:
        requests = {request.job_name: request for request in outdated_requests(lambda: platform, both, instance)}
        assert requests["materialize_prunings"].partition_key == "2024"
    after = judge(platform, prunings, "2024")
    assert after.rows_failed == 2
    assert after.passed
    assert curated.materialize(platform, prunings, "2024").counts["rows_in"] == 18
    history = EvaluationHistory(platform.lake.store)
    assert [one.rows_failed for one in history.of("prunings", "2024")] == [2, 0, 0]
    again = quality_checked.materialize(platform, prunings, "2024")[0]
    assert [one.sequence for one in history.of("prunings", "2024")] == [3, 2, 1]  # the same again is not recorded
    assert quality_checked.verdict_of(again) == after


def test_rules_compare_with_earlier_years_in_whatever_order_they_are_judged(
    platform: Platform, both: tuple[Dataset, Dataset], tmp_path: Path
) -> None:
    prunings, trees = both
    land(platform, trees, tmp_path, [*good_trees(2022, 9), *good_trees(2023), *good_trees(2024, 15)])
    land(platform, prunings, tmp_path, [*good_trees(2022, 9), *good_trees(2023), *good_trees(2024, 15)])
    for year in ("2022", "2023", "2024"):
        judge(platform, trees, year)
    backwards = {year: outcomes(judge(platform, prunings, year))["not_fewer"] for year in ("2024", "2023", "2022")}
    assert backwards == {"2024": "WARN", "2023": "WARN", "2022": "WARN"}  # nothing earlier was known
    for year in ("2023", "2024"):
        assert outdated(platform, prunings, year)[0] == "quality_checked"
        standing = gated.gate(platform, prunings, year)
        assert standing is not None
        assert "(history)" in " ".join(standing.reasons)
    assert outdated(platform, prunings, "2022") == ("curated", "encrypted")  # later years are not its business
    found = {year: outcomes(judge(platform, prunings, year))["not_fewer"] for year in ("2022", "2023", "2024")}
    assert found == {"2022": "WARN", "2023": "PASS", "2024": "FAIL"}
    assert outdated(platform, prunings, "2024") == ("curated", "encrypted")


def test_the_graph_shows_the_reference_and_work_follows_its_order(folder: Path, both: tuple[Dataset, ...]) -> None:
    graph = build_definitions(folder.parent / "home", folder).resolve_asset_graph()
    parents = graph.get(dg.AssetKey(["prunings", "quality_checked"])).parent_keys
    assert dg.AssetKey(["trees", "quality_checked"]) in parents
    assert [dataset.name for dataset in in_order_of_reference(both)] == ["trees", "prunings"]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ('RowCountMatch "tree" = 1.0', "rules.dqdl:1:11: there is no dataset tree -> write 'trees'"),
        ('SchemaMatch "woods" = 1.0', "there is no dataset woods"),
        ('ReferentialIntegrity "TreeID" "trees.Number" = 1.0', 'trees has no column "Number"'),
        ('AggregateMatch "sum(Height)" "sum(trees.Hight)" = 1.0', "write 'Height'"),
        ('RowCountMatch "prunings" = 1.0', "a dataset is not its own reference"),
        ('ReferentialIntegrity "Tree" "trees.TreeID" = 1.0', "did you mean TreeID?"),
    ],
)
def test_a_reference_that_cannot_be_is_found_when_the_datasets_are_read(tmp_path: Path, rule: str, said: str) -> None:
    folder = with_prunings(tmp_path / "datasets", f"Rules = [ {rule} ]")
    with pytest.raises(InvalidDefinition) as refused:
        load_datasets(folder)
    assert said in str(refused.value)


def test_datasets_that_wait_for_each_other_are_found(folder: Path) -> None:
    (folder / "trees" / "rules.dqdl").write_text('Rules = [ RowCountMatch "prunings" > 0 ]', encoding="utf-8")
    with pytest.raises(InvalidDefinition, match="wait for each other"):
        load_datasets(folder)
