"""Reading recipes: what a correct one says, and every kind of mistake at its line."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from city_platform.cleaning.operations import OPERATIONS
from city_platform.cleaning.positioned import Node, read_json
from city_platform.cleaning.recipe import parse_recipe
from city_platform.contracts.model import Classification, Column, Contract, Partitioning, PartitionTransform
from city_platform.errors import Finding


def column(name: str, source: str, sql_type: str, line: int) -> Column:
    return Column(name, source, (), "string", sql_type, Classification.PUBLIC, "", True, True, None, None, line)


CONTRACT = Contract(
    id="c",
    name="c",
    title="C",
    purpose="",
    version="1.0.0",
    owner="team:c",
    domain="",
    licence="",
    source_url="",
    cadence="daily",
    freshness=timedelta(days=1),
    columns=(column("Year", "FOLDERYEAR", "INTEGER", 3), column("City", "City", "VARCHAR", 7)),
    partitioning=Partitioning("FOLDERYEAR", PartitionTransform.TWO_DIGITS),
    latest_by=None,
)


def step(operation: str, conditions: list[dict[str, str]] | None = None, **parameters: Any) -> dict[str, Any]:
    written: dict[str, Any] = {"Action": {"Operation": operation, "Parameters": parameters}}
    return written | ({"ConditionExpressions": conditions} if conditions is not None else {})


RENAME = step("RENAME", sourceColumn="FOLDERYEAR", targetColumn="Year")
TYPE = step("CHANGE_DATA_TYPE", sourceColumn="Year", columnDataType="int")


def written(*steps: Any) -> str:
    """One step a line, the first on line 2."""
    return "[\n" + ",\n".join(json.dumps(one) for one in steps) + "\n]"


def findings(*steps: Any) -> list[Finding]:
    return parse_recipe(written(*steps), "recipe.json", CONTRACT)[1]


def test_a_correct_recipe_and_its_hash() -> None:
    recipe, wrong = parse_recipe(written(RENAME, TYPE), "recipe.json", CONTRACT)
    assert wrong == []
    assert recipe is not None
    assert [one.operation.name for one in recipe.steps] == ["RENAME", "CHANGE_DATA_TYPE"]
    spaced, _ = parse_recipe("\ufeff" + json.dumps([RENAME, TYPE], indent=4), "recipe.json", CONTRACT)
    assert spaced == recipe or (spaced is not None and spaced.hash == recipe.hash)
    other, _ = parse_recipe(written(RENAME, TYPE, step("UPPER_CASE", sourceColumn="City")), "r", CONTRACT)
    assert other is not None
    assert other.hash != recipe.hash


MISTAKES = [
    (step("UPPERCASE", sourceColumn="City"), "unknown operation UPPERCASE", "UPPER_CASE"),
    (step("UPPER_CASE", sourceColumn="city"), "no column city", "write City"),
    (step("UPPER_CASE"), "UPPER_CASE has no sourceColumn", "sourceColumn"),
    (step("UPPER_CASE", sourceColumn="City", source="x"), "UPPER_CASE has no source", "sourceColumn"),
    (step("UPPER_CASE", sourceColumn=7), "is a text in DataBrew, not a number", '"7"'),
    (step("RENAME", sourceColumn="Year", targetColumn="City"), "there is a column City already", "rename"),
    (step("REPLACE_TEXT", sourceColumn="City", pattern="(", value="x"), "not a regular expression", "pattern"),
    (step("REPLACE_TEXT", sourceColumn="City", pattern="(?<=a)b", value="x"), "not a regular expression", "pattern"),
    (step("REPLACE_TEXT", sourceColumn="City", pattern="a", value="$1"), "names group $1", "parentheses"),
    (step("REPLACE_TEXT", sourceColumn="City", pattern="a", value=""), "value has 0 characters", "1 to 32768"),
    (step("REMOVE_COMBINED", sourceColumn="City"), "removes nothing", "true"),
    (step("REMOVE_COMBINED", sourceColumn="City", removeNumbers="yes"), "removeNumbers cannot be yes", '"true"'),
    (step("REMOVE_COMBINED", sourceColumn="City", removeCustomValue="true"), "customValue is missing", "customValue"),
    (step("REMOVE_VALUES", sourceColumn="City"), "without a condition", "ConditionExpressions"),
    (step("UPPER_CASE", sourceColumn="Year"), "has its type already", "before"),
    (
        step("CATEGORICAL_MAPPING", sourceColumn="City", targetColumn="T", mapType="TEXT", categoryMap="[]"),
        "categoryMap cannot be []",
        "a JSON object of texts",
    ),
    (
        step("UPPER_CASE", [{"Condition": "IS_LIKE", "Value": "a", "TargetColumn": "City"}], sourceColumn="City"),
        "unknown condition IS_LIKE",
        "IS_MISSING",
    ),
    (
        step("UPPER_CASE", [{"Condition": "LESS_THAN", "Value": "a", "TargetColumn": "City"}], sourceColumn="City"),
        "must be a number",
        "smaller",
    ),
    (step("MERGE", sourceColumns="City", targetColumn="T"), "not a JSON list of columns", "one"),
    (step("MERGE", sourceColumns='["City","Cty"]', targetColumn="T"), "no column Cty", "City"),
    (step("YEAR", targetColumn="T"), "YEAR has none of", "give one of"),
    (step("YEAR", sourceColumn="City", value="2024-01-01", targetColumn="T"), "has both", "give one of"),
    (step("DELETE"), "DELETE has none of", "sourceColumns"),
    (step("LEFT", sourceColumn="City", position="-1", targetColumn="T"), "position cannot be -1", "whole number"),
    (step("ADD", sourceColumn1="City", value2="1e", targetColumn="T"), "value2 cannot be 1e", "a number"),
    (
        step("SUBSTRING", sourceColumn="City", startPosition="3", endPosition="2", targetColumn="T"),
        "endPosition 2 is before",
        "exchange",
    ),
    (step("SPLIT_COLUMN_SINGLE_DELIMITER", sourceColumn="City", pattern=",", limit="21"), "at most 20", "1 to 20"),
    (
        step("SPLIT_COLUMN_MULTIPLE_DELIMITER", sourceColumn="City", patternOptions='[{"p":1}]', limit="1"),
        "patternOptions cannot be",
        "includeInSplit",
    ),
    (
        step(
            "BOOLEAN_OPERATION",
            valueExpression="`Cty` < 1",
            trueValueExpression="a",
            falseValueExpression="b",
            targetColumn="T",
        ),
        "no column Cty",
        "City",
    ),
    (
        step(
            "BOOLEAN_OPERATION",
            valueExpression="City < 1",
            trueValueExpression="a",
            falseValueExpression="b",
            targetColumn="T",
        ),
        "is no column",
        "back ticks",
    ),
    (
        step("CASE_OPERATION", valueExpression="case when `City` = then 1 end", targetColumn="T"),
        "not an expression",
        "`",
    ),
    (
        step("CASE_OPERATION", valueExpression="case when length(`City`) = 1 then 'x' end", targetColumn="T"),
        "is not known here",
        "contains",
    ),
    (step("DATE_ADD", sourceColumn="City", units="DAY", dateAddValue="1", targetColumn="T"), "units cannot be", "DAYS"),
    (
        step("DATE_ADD", sourceColumn="City", units="YEARS", dateAddValue="10001", targetColumn="T"),
        "more than 10,000 years",
        "correct",
    ),
    (
        step("CONVERT_TIMEZONE", sourceColumn="City", toTimeZone="PST", targetColumn="T"),
        "toTimeZone PST",
        "America/Vancouver",
    ),
    (step("DATE_FORMAT", sourceColumn="City", dateTimeFormat="yyyy-DD", targetColumn="T"), "has DD", "yyyy"),
    (step("MASK_RANGE", sourceColumns='["City"]', maskSymbol="##"), "one character", "#"),
    (step("MASK_DATE", sourceColumns='["City"]', maskSymbol="#", redact='["CENTURY"]'), "CENTURY", "YEAR"),
    (
        step("REPLACE_WITH_RANDOM_BETWEEN", sourceColumns='["City"]', lowerBound="2", upperBound="1"),
        "below lowerBound",
        "correct",
    ),
    (
        step("CRYPTOGRAPHIC_HASH", sourceColumns='["City"]', secretId="s", algorithm="MD5"),
        "algorithm cannot be MD5",
        "HMAC_SHA256",
    ),
    ({"RecipeAction": {}}, "a step has no RecipeAction", "Action"),
    ("UPPER_CASE", "a step is an object, not a text", "Action"),
]


@pytest.mark.parametrize(("mistake", "problem", "remedy"), MISTAKES)
def test_a_mistake_is_shown_at_its_line(mistake: Any, problem: str, remedy: str) -> None:
    found = findings(RENAME, TYPE, mistake)
    assert {one.line for one in found} == {4}
    shown = [one for one in found if problem in one.problem]
    assert shown, found
    assert remedy in shown[0].remedy


def test_all_mistakes_at_once_and_columns_of_values() -> None:
    found = findings(RENAME, TYPE, *(mistake for mistake, _, _ in MISTAKES))
    assert {one.line for one in found} == set(range(4, 4 + len(MISTAKES)))
    place = findings(RENAME, TYPE, step("UPPER_CASE", sourceColumn="Cty"))[0]
    line = written(RENAME, TYPE, step("UPPER_CASE", sourceColumn="Cty")).splitlines()[3]
    assert place.column == line.index('"Cty"') + 1


@pytest.mark.parametrize(
    ("steps", "order"),
    [
        ([step("MOVE_TO_END", sourceColumn="Year")], "City"),
        ([step("MOVE_TO_START", sourceColumn="City")], "City"),
        ([step("MOVE_AFTER", sourceColumn="Year", targetColumn="City")], "City"),
        ([step("MOVE_BEFORE", sourceColumn="City", targetColumn="Year")], "City"),
        ([step("MOVE_TO_INDEX", sourceColumn="City", targetIndex="0")], "City"),
        ([step("MOVE_TO_END", sourceColumn="Year"), step("MOVE_TO_INDEX", sourceColumn="Year", targetIndex="0")], ""),
    ],
)
def test_moved_columns_must_come_to_the_contracts_order(steps: list[Any], order: str) -> None:
    found = findings(RENAME, TYPE, *steps)
    assert [one.problem for one in found] == (
        [f"the recipe leaves {order} where the contract has Year"] if order else []
    )
    assert all(one.line == 4 for one in found)


def test_several_columns_are_deleted_and_a_column_stays_in_its_place_when_renamed() -> None:
    copies = [step("DUPLICATE", sourceColumn="City", targetColumn=name) for name in ("one", "other")]
    assert findings(*copies, step("DELETE", sourceColumns='["one","other"]'), RENAME, TYPE) == []
    found = findings(RENAME, TYPE, *copies, step("DELETE", sourceColumns='["one"]'), step("DELETE", sourceColumn="one"))
    assert [one.line for one in found] == [7]


@pytest.mark.parametrize("name", ["GROUP_BY", "PIVOT", "UNPIVOT", "JOIN", "NOW", "ENCRYPT", "SORT"])
def test_steps_without_a_place_in_a_recipe_say_why_and_what_instead(name: str) -> None:
    (found,) = findings(RENAME, TYPE, step(name))
    assert (found.line, found.problem.startswith(f"{name} has no place in a dataset's recipe: ")) == (4, True)
    assert found.remedy


def test_the_output_must_equal_the_contract() -> None:
    assert any("no column Year" in one.problem and '"RENAME"' in one.remedy for one in findings())
    assert any(
        "is text at the end" in one.problem and '"columnDataType": "int"' in one.remedy for one in findings(RENAME)
    )
    wrong = findings(RENAME, step("CHANGE_DATA_TYPE", sourceColumn="Year", columnDataType="double"))
    assert [(one.line, '"int"' in one.remedy) for one in wrong] == [(3, True)]
    assert any("no column City" in one.problem for one in findings(RENAME, TYPE, step("DELETE", sourceColumn="City")))


def test_syntax_and_shape() -> None:
    assert parse_recipe('[\n{"Action" 1}]', "r.json", CONTRACT)[1][0].line == 2
    assert "not an object" in parse_recipe("{}", "r.json", CONTRACT)[1][0].problem
    assert parse_recipe("[" * 100_000, "r.json", CONTRACT)[0] is None
    twice = parse_recipe('[{"Action": 1, "Action": 2}]', "r.json", CONTRACT)[1]
    assert any("appears twice" in one.problem for one in twice)


def test_at_most_a_hundred_steps() -> None:
    many = [step("UPPER_CASE", sourceColumn="City")] * 99
    found = findings(RENAME, TYPE, *many)
    assert [(one.line, "at most 100" in one.problem) for one in found] == [(102, True)]


def test_every_operation_is_documented() -> None:
    for operation in OPERATIONS.values():
        assert operation.documentation.endswith(".")
        assert all(parameter.documentation for parameter in operation.parameters)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def plain(node: Node) -> Any:
    if isinstance(node.value, dict):
        return {name: plain(member) for name, member in node.value.items()}
    return [plain(member) for member in node.value] if isinstance(node.value, list) else node.value


@settings(max_examples=100)
@given(json_values, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_positioned_json_reads_as_json_does(value: Any, indent: Any, ascii_only: bool) -> None:
    node, wrong = read_json(json.dumps(value, indent=indent, ensure_ascii=ascii_only), "f")
    assert wrong == []
    assert node is not None
    assert plain(node) == value


@settings(max_examples=100)
@given(st.text(alphabet='[]{}":,1atrue \n', max_size=30) | json_values.map(json.dumps))
def test_no_text_breaks_the_reader(text: str) -> None:
    recipe, wrong = parse_recipe(text, "f", CONTRACT)
    assert recipe is None
    assert wrong
