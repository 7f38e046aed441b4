"""The pages of data flows, processes and governance: what a recipe's steps become in words, and what a page holds."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city_platform.catalog.handbook.flows import Automation, DataFlow, FlowAsset, flows_page
from city_platform.catalog.handbook.governance import governance_page
from city_platform.catalog.handbook.processes import processes_page
from city_platform.catalog.handbook.steps import steps_in_words
from city_platform.catalog.handbook.text import code, plain
from city_platform.cleaning.conditions import Condition
from city_platform.cleaning.operations import OPERATIONS
from city_platform.cleaning.recipe import Step
from city_platform.datasets import load_datasets
from city_platform.markdown import table
from tests.town import FIXTURES

TOWN = load_datasets(FIXTURES)


def step(name: str, /, *conditions: Condition, **parameters: str) -> Step:
    return Step(1, OPERATIONS[name], parameters, conditions, 1)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (
            [step("UPPER_CASE", sourceColumn="A"), step("UPPER_CASE", sourceColumn="B")],
            ["`A`, `B`: all letters capital."],
        ),
        (
            [step("RENAME", sourceColumn="a", targetColumn="A"), step("RENAME", sourceColumn="b", targetColumn="B")],
            ["Name `a` as `A`, `b` as `B`."],
        ),
        (
            [
                step("CHANGE_DATA_TYPE", sourceColumn="A", columnDataType="int"),
                step("CHANGE_DATA_TYPE", sourceColumn="B", columnDataType="date"),
            ],
            ["Give types: `A` int, `B` date. A value that has not its column's is kept apart, with the reason."],
        ),
        (
            [step("REPLACE_TEXT", Condition("IS", "A", '["x"]'), sourceColumn="A", pattern="^x$", value="")],
            ["`A`: what matches `^x$` becomes nothing, where it is `x`."],
        ),
        (
            [
                step("UPPER_CASE", Condition("IS_MISSING", "A", ""), sourceColumn="A"),
                step("UPPER_CASE", Condition("IS_MISSING", "A", ""), sourceColumn="B"),
            ],
            [
                "`A`: all letters capital, where it is null or empty.",
                "`B`: all letters capital, where `A` is null or empty.",
            ],
        ),
        (
            [step("REMOVE_COMBINED", sourceColumn="A", removeCustomCharacters="true", customCharacters="$,")],
            ["`A`: remove each of the characters `$,`."],
        ),
        ([step("DELETE_DUPLICATE_ROWS")], ["Removes rows equal to an earlier one in every column of that point."]),
        (
            [step("FILL_WITH_CUSTOM", sourceColumn="A", value="x", columnDataType="string")],
            ["`A`: gives missing values, null or empty, one value (the value: `x`; the column's type: `string`)."],
        ),
    ],
)
def test_steps_are_said_in_words_and_like_ones_together(steps: list[Step], said: list[str]) -> None:
    assert list(steps_in_words(steps)) == said


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1))
def test_what_is_quoted_as_code_can_be_taken_out_again(text: str) -> None:
    longest = max(map(len, re.findall("`+", text)), default=0)
    quoted = code(text)
    fence = "`" * (longest + 1)
    assert quoted.startswith(fence)
    assert quoted.endswith(fence)
    inner = quoted[len(fence) : -len(fence)]
    assert text in {inner, inner[1:-1]}


def test_markdown_finds_nothing_to_format_in_plain_words() -> None:
    assert plain("a*b <dataset> `c` \\d") == "a\\*b \\<dataset> \\`c\\` \\\\d"


def test_a_tables_cells_keep_their_bars_and_lines_to_themselves() -> None:
    assert table(("a", "b"), [["x|y", None], ["1\n2", 3]]).splitlines()[2:] == ["| x\\|y |  |", "| 1 2 | 3 |"]


def test_the_page_of_processes_says_all_of_a_recipe_and_of_the_summary() -> None:
    page = processes_page(TOWN)
    for dataset in TOWN:
        section = page.split(f"## {dataset.contract.title}\n")[1].split("\n## ")[0]
        for one in dataset.recipe.steps:
            for name in one.operation.reads(one.parameters):
                assert code(name) in section
        assert f"{len(dataset.recipe.steps)} steps" in section


def test_a_filter_of_rows_is_told_from_one_within_an_aggregate() -> None:
    tall = "WITH t AS (SELECT * FROM trusted WHERE Height > 3)"
    sql = f"-- What grows.\n{tall} SELECT count(*) FILTER (WHERE Planter <> '') AS n FROM t ORDER BY n"
    page = processes_page([replace(TOWN[0], curated_sql=sql, curated_hash=sql)])
    assert "**Load.** What grows. Filters: `Height > 3`.\n" in page


def test_the_page_of_governance_says_every_rule_of_every_dataset() -> None:
    page = governance_page(TOWN)
    for dataset in TOWN:
        section = page.split(f"## {dataset.contract.title}\n")[1].split("\n## ")[0]
        rules = [row for row in section.splitlines() if row.startswith("| `")]
        assert len(rules) == sum(len(ruleset.rules) for ruleset in dataset.rulesets)
        assert all(code(one.name) in section for one in dataset.contract.columns if one.personal)


def test_the_page_of_flows_draws_what_is_common_once_and_what_is_not_by_dataset() -> None:
    (trees,) = TOWN
    shrubs = replace(trees, name="shrubs", contract=replace(trees.contract, name="shrubs", title="Shrubs"))
    names = [trees.name, shrubs.name]
    assets = [FlowAsset(f"{name}/raw", name, (), "Trees: the bytes.\n\nMore.", ("file",), 0) for name in names]
    assets += [FlowAsset(f"{name}/cleaned", name, (f"{name}/raw",), "Trees: rows.", (), 1) for name in names]
    extra = [
        FlowAsset(f"{names[0]}/{one}", names[0], (f"{names[0]}/cleaned",), f"Trees: {one} <b>.", (), 0) for one in "abc"
    ]
    whole = FlowAsset("catalog/tables", "catalog", tuple(f"{name}/cleaned" for name in names), "All.", (), 3)
    ticks = [Automation(f"weekly_{name}", "`0 5 * * 1` UTC", "Every rule.") for name in names]
    page = flows_page([trees, shrubs], DataFlow((*assets, *extra, whole), tuple(ticks)))
    assert page.count('    raw["raw"] --> cleaned["cleaned"]\n') == 1
    assert 'cleaned["cleaned"] --> catalog_tables["catalog/tables"]' in page
    assert page.count('cleaned["cleaned"] --> a["a"]') == 1
    assert "| `a` | `cleaned` | A \\<b>. | 0 |" in page
    assert "| `cleaned` | `raw` | Rows. |" in page
    assert page.count("`weekly_…`") == 1
