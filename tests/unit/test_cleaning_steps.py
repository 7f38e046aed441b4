"""Every step type's documented behaviour, as rows in and rows out, and its SQL as Spark reads it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlglot
from sqlglot import exp
from sqlglot.dialects.spark import Spark

from city_platform.cleaning.compile import cleaning_select
from city_platform.cleaning.operations import OPERATIONS
from city_platform.cleaning.recipe import parse_recipe
from city_platform.cleaning.steps.refused import REFUSED
from city_platform.datasets import load_dataset
from city_platform.engines.duckdb import DuckDBSession
from city_platform.engines.session import NotOnSpark
from city_platform.engines.spark import SparkDialect
from city_platform.protection.keyed import decrypting, hashing, register_keyed
from tests.town import ROOT
from tests.unit.test_cleaning_compile import contract, step

KEY = bytes(range(32))
# What Spark does not do: numbers with decimals as text, and dates by the names of months.
HERE_ALONE = {
    *(f"{verb}_WITH_{what}" for verb in ("FILL", "REPLACE") for what in ("AVERAGE", "SUM", "MEDIAN", "MODE")),
    *("ADD", "SUBTRACT", "MULTIPLY", "DIVIDE", "MOD", "POWER", "ABSOLUTE", "CEILING", "FLOOR", "ROUND", "NEGATE"),
    *("SIGN", "SQUARE_ROOT", "FORMAT_DATE"),
}
Texts = Sequence[str | None]


@pytest.fixture(scope="module")
def session() -> Iterator[DuckDBSession]:
    opened = DuckDBSession(duckdb.connect(config={"threads": 1}))
    opened.execute("SET TimeZone = 'UTC'")
    opened.execute("SET disabled_optimizers = 'in_clause'")
    yield opened
    opened.close()


def run(session: DuckDBSession, steps: Sequence[Mapping[str, Any]], given: Mapping[str, Texts]) -> dict[str, list[Any]]:
    """The columns after the steps, and what removed each row. Columns that the steps create are `t` and the like."""
    created = [name for one in steps for name in _created(one)]
    # A column that a step creates has no source: it is renamed to one that the contract has, and the files lack.
    spare = {name: f"spare {name}" for name in created}
    agreed = contract(**dict.fromkeys([*given, *spare.values()], "VARCHAR"))
    renames: list[dict[str, Any]] = []
    for name, other in spare.items():
        renames += [step("DELETE", sourceColumn=other), step("RENAME", sourceColumn=name, targetColumn=other)]
    recipe, findings = parse_recipe(json.dumps([*steps, *renames]), "recipe.json", agreed)
    assert recipe is not None, findings
    header = ", ".join(f'"{name}"' for name in given)
    rows = ", ".join(
        f"({number}, {', '.join(map(_sql, row))})" for number, row in enumerate(zip(*given.values(), strict=True))
    )
    relation = f"(SELECT * FROM (VALUES {rows}) AS rows(_row, {header}))"
    keyed = _keyed(session) if recipe.needs_secret else None
    present = {name: name for name in given}
    select = cleaning_select(recipe, agreed, session.dialect, present, relation, source_index=0, keyed=keyed)
    assert (" OVER (" in select) == recipe.reads_other_rows
    found = session.connection.sql(f"SELECT * FROM ({select}) ORDER BY _row")
    columns = dict(zip(found.columns, zip(*found.fetchall(), strict=True), strict=True))
    refused = HERE_ALONE & {one["Action"]["Operation"] for one in steps}
    with pytest.raises(NotOnSpark) if refused else nullcontext():
        spark = cleaning_select(recipe, agreed, SparkDialect(), present, "rows", source_index=0, keyed="keyed")
        assert sqlglot.parse_one(spark, dialect=Spark)
    back = {other: name for name, other in spare.items()}
    return {back.get(name, name): list(values) for name, values in columns.items()}


def _created(one: Mapping[str, Any]) -> Sequence[str]:
    operation = OPERATIONS[one["Action"]["Operation"]]
    return operation.created(one["Action"]["Parameters"]) if operation.name != "RENAME" else ()


def _sql(value: str | None) -> str:
    return "NULL::VARCHAR" if value is None else "'" + value.replace("'", "''") + "'"


_NAMES: dict[int, str] = {}


def _keyed(session: DuckDBSession) -> str:
    if id(session) not in _NAMES:
        _NAMES[id(session)] = register_keyed(session, KEY)
    return _NAMES[id(session)]


def on_a(operation: str, **parameters: str) -> dict[str, Any]:
    return step(operation, sourceColumn="a", **parameters)


def to_t(operation: str, **parameters: str) -> dict[str, Any]:
    return on_a(operation, targetColumn="t", **parameters)


def of(operation: str, columns: Sequence[str], **parameters: str) -> dict[str, Any]:
    return step(operation, sourceColumns=json.dumps(columns), **parameters)


HASHED, ENCRYPT = hashing(KEY, "s"), {"secretId": "s"}
NUMBERS = ["1", "3", "", "3", "x", None, "1"]
SAME = object()  # the column comes out as it went in

# The step; the columns before; what is looked at afterwards. Each as its documentation says.
CASES: list[tuple[Any, Mapping[str, Texts], Mapping[str, Texts]]] = [
    # text
    (on_a("UPPER_CASE"), {"a": ["éa b", None]}, {"a": ["ÉA B", None]}),
    (on_a("LOWER_CASE"), {"a": ["ÉA B", None]}, {"a": ["éa b", None]}),
    (on_a("CAPITAL_CASE"), {"a": ["mcLEAN de lA", None]}, {"a": ["Mclean De La", None]}),
    (
        on_a("SENTENCE_CASE"),
        {"a": ["THE QUICK. jumped over! WHO? it", None]},
        {"a": ["The quick. Jumped over! Who? It", None]},
    ),
    (on_a("ADD_PREFIX", pattern="p'"), {"a": ["x", "", None]}, {"a": ["p'x", None, None]}),
    (on_a("ADD_SUFFIX", pattern="s"), {"a": ["x", None]}, {"a": ["xs", None]}),
    (on_a("ADD_SINGLE_QUOTES"), {"a": ["x"]}, {"a": ["'x'"]}),
    (on_a("ADD_DOUBLE_QUOTES"), {"a": ["x"]}, {"a": ['"x"']}),
    (on_a("REMOVE_COMBINED", removeNumbers="true"), {"a": ["a1 b2", None]}, {"a": ["a b", None]}),
    (on_a("REPLACE_TEXT", pattern="[0-9]", value="!"), {"a": ["a1b2", None]}, {"a": ["a!b!", None]}),
    (
        on_a("REPLACE_BETWEEN_DELIMITERS", startPattern="<", endPattern=">", value="$1?"),
        {"a": ["a<b>c<d>", "a<b", None]},
        {"a": ["a<$1?>c<$1?>", "a<b", None]},
    ),
    (
        on_a("REPLACE_BETWEEN_DELIMITERS", startPattern="(a|b)", endPattern="([)z])", value="-"),
        {"a": ["1axxz2bz"]},
        {"a": ["1a-z2b-z"]},
    ),
    (
        on_a("REPLACE_BETWEEN_POSITIONS", startPosition="2", endPosition="3", value="E"),
        {"a": ["abcd", "a", "ab", None]},
        {"a": ["aEd", "a", "aE", None]},
    ),
    (
        to_t("CATEGORICAL_MAPPING", categoryMap='{"1":"one"}', mapType="TEXT", other="?"),
        {"a": ["1", "2", None]},
        {"t": ["one", "?", None]},
    ),
    (to_t("EXTRACT_PATTERN", pattern="[0-9]+"), {"a": ["a12b3", "a", None]}, {"t": ["12", None, None]}),
    (
        to_t("EXTRACT_BETWEEN_DELIMITERS", startPattern=r"\/\/", endPattern=r"\/"),
        {"a": ["http://x.y/z/", "x", None]},
        {"t": ["x.y", None, None]},
    ),
    (
        to_t("EXTRACT_BETWEEN_POSITIONS", startPosition="3", endPosition="4"),
        {"a": ["abcde", "ab"]},
        {"t": ["cd", None]},
    ),
    (to_t("SUBSTRING", startPosition="3", endPosition="4"), {"a": ["abcde", None]}, {"t": ["cd", None]}),
    (
        to_t("FLAG_COLUMN_FROM_PATTERN", flagType="Pattern", pattern="^N", trueString="yes"),
        {"a": ["NW", "W", None]},
        {"t": ["yes", "False", "False"]},
    ),
    (to_t("LOWER"), {"a": ["AB", None]}, {"t": ["ab", None], "a": ["AB", None]}),
    (step("UPPER", value="ab", targetColumn="t"), {"a": ["x", None]}, {"t": ["AB", "AB"]}),
    (to_t("TRIM"), {"a": [" a\u00a0", None]}, {"t": ["a", None]}),
    (to_t("LEN"), {"a": ["abé", None]}, {"t": ["3", None]}),
    (to_t("LEFT", position="2"), {"a": ["abc", "a"]}, {"t": ["ab", "a"]}),
    (to_t("RIGHT", position="2"), {"a": ["abc", "a"]}, {"t": ["bc", "a"]}),
    # columns
    (to_t("DUPLICATE"), {"a": ["x", None]}, {"t": ["x", None]}),
    # missing and invalid
    (on_a("FILL_WITH_CUSTOM", value="v", columnDataType="string"), {"a": ["x", "", None]}, {"a": ["x", "v", "v"]}),
    (on_a("FILL_WITH_EMPTY"), {"a": ["x", None]}, {"a": ["x", None]}),
    (on_a("FILL_WITH_NULL"), {"a": ["x", "y"]}, {"a": [None, None]}),
    (
        step("FILL_WITH_NULL", ("IS", "a", "x"), sourceColumn="a"),
        {"a": ["x", "y"]},
        {"a": [None, "y"]},
    ),
    (on_a("FILL_WITH_AVERAGE"), {"a": NUMBERS}, {"a": ["1", "3", "2.0", "3", "x", "2.0", "1"]}),
    (on_a("FILL_WITH_SUM"), {"a": ["0.1", "0.2", None]}, {"a": ["0.1", "0.2", "0.3"]}),
    (on_a("FILL_WITH_MEDIAN"), {"a": ["1", "9", None, "2"]}, {"a": ["1", "9", "2.0", "2"]}),
    (on_a("FILL_WITH_MODE", modeType="MINIMUM"), {"a": NUMBERS}, {"a": ["1", "3", "1.0", "3", "x", "1.0", "1"]}),
    (on_a("FILL_WITH_MODE", modeType="MAXIMUM"), {"a": NUMBERS}, {"a": ["1", "3", "3.0", "3", "x", "3.0", "1"]}),
    (on_a("FILL_WITH_MODE", modeType="AVERAGE"), {"a": NUMBERS}, {"a": ["1", "3", "2.0", "3", "x", "2.0", "1"]}),
    (on_a("FILL_WITH_MODE", modeType="NONE"), {"a": NUMBERS}, {"a": ["1", "3", None, "3", "x", None, "1"]}),
    (on_a("FILL_WITH_MOST_FREQUENT"), {"a": ["b", "c", None, "c", "b"]}, {"a": ["b", "c", "b", "c", "b"]}),
    (
        on_a("FILL_WITH_LAST_VALID", columnDataType="number"),
        {"a": [None, "1", "", "x", None]},
        {"a": [None, "1", "1", "x", "1"]},
    ),
    (
        of("REPLACE_WITH_CUSTOM", ["a", "b"], columnDataType="date", value="?"),
        {"a": ["2024-02-30", None], "b": ["2024-02-29", "x"]},
        {"a": ["?", None], "b": ["2024-02-29", "?"]},
    ),
    (on_a("REPLACE_WITH_EMPTY", columnDataType="boolean"), {"a": ["true", "x"]}, {"a": ["true", None]}),
    (on_a("REPLACE_WITH_NULL", columnDataType="int"), {"a": ["1", "1.5", None]}, {"a": ["1", None, None]}),
    (
        on_a("REPLACE_WITH_AVERAGE", columnDataType="number"),
        {"a": ["1", "x", "2", None]},
        {"a": ["1", "1.5", "2", None]},
    ),
    (on_a("REPLACE_WITH_SUM", columnDataType="number"), {"a": ["1", "x", "2"]}, {"a": ["1", "3.0", "2"]}),
    (on_a("REPLACE_WITH_MEDIAN", columnDataType="number"), {"a": ["1", "x", "2", "9"]}, {"a": ["1", "2.0", "2", "9"]}),
    (
        on_a("REPLACE_WITH_MODE", columnDataType="number", modeType="MAXIMUM"),
        {"a": ["1", "x", "2"]},
        {"a": ["1", "2.0", "2"]},
    ),
    (
        on_a("REPLACE_WITH_MOST_FREQUENT", columnDataType="number"),
        {"a": ["2", "x", "2", "1"]},
        {"a": ["2", "2", "2", "1"]},
    ),
    (
        on_a("REPLACE_WITH_LAST_VALID", columnDataType="timestamp"),
        {"a": ["2024-01-01T10:00:00", "soon", None]},
        {"a": ["2024-01-01T10:00:00", "2024-01-01T10:00:00", None]},
    ),
    (
        to_t("FLAG_COLUMN_FROM_NULL", flagType="Null values", falseString="no"),
        {"a": ["x", "", None]},
        {"t": ["no", "True", "True"]},
    ),
    # rows
    (on_a("REMOVE_MISSING"), {"a": ["x", "", None]}, {"_removed": [None, "REMOVE_MISSING", "REMOVE_MISSING"]}),
    (
        on_a("REMOVE_INVALID", columnDataType="number"),
        {"a": ["1.5", "x", None]},
        {"_removed": [None, "REMOVE_INVALID", None]},
    ),
    (
        step("REMOVE_VALUES", ("STARTS_WITH", "a", "x"), sourceColumn="a"),
        {"a": ["xa", "ax", None]},
        {"_removed": ["REMOVE_VALUES", None, None]},
    ),
    (
        on_a("REMOVE_DUPLICATES"),
        {"a": ["x", "y", "x", None, None], "b": list("12345")},
        {"_removed": [None, None, "REMOVE_DUPLICATES", None, "REMOVE_DUPLICATES"]},
    ),
    (
        step("DELETE_DUPLICATE_ROWS"),
        {"a": ["x", "x", "x"], "b": ["1", "2", "1"]},
        {"_removed": [None, None, "DELETE_DUPLICATE_ROWS"]},
    ),
    (
        step("FLAG_DUPLICATE_ROWS", trueString="T", falseString="F", targetColumn="t"),
        {"a": ["x", "x", "x"], "b": ["1", "2", "1"]},
        {"t": ["F", "F", "T"]},
    ),
    (
        to_t("FLAG_DUPLICATES_IN_COLUMN", trueString="T", falseString="F"),
        {"a": ["x", "y", "x"]},
        {"t": ["F", "F", "T"]},
    ),
    # structure
    (
        of("MERGE", ["a", "b"], delimiter=" ", targetColumn="t"),
        {"a": ["x", None, None], "b": ["y", "y", ""]},
        {"t": ["x y", "y", None]},
    ),
    (of("MERGE_COLUMNS_AND_VALUES", ["b", "a"], targetColumn="t"), {"a": ["x"], "b": ["y"]}, {"t": ["yx"]}),
    (
        of("COALESCE", ["a", "b"], targetColumn="t"),
        {"a": ["x", "", None], "b": ["y", "y", None]},
        {"t": ["x", "y", None]},
    ),
    (
        on_a("SPLIT_COLUMN_SINGLE_DELIMITER", pattern=".", limit="2"),
        {"a": ["x.y.z.w", "x", None]},
        {"a_1": ["x", "x", None], "a_2": ["y", None, None], "a_3": ["z.w", None, None]},
    ),
    (
        on_a("SPLIT_COLUMN_SINGLE_DELIMITER", pattern="/", limit="1", includeInSplit="true"),
        {"a": ["x/y"]},
        {"a_1": ["x/"], "a_2": ["y"]},
    ),
    (
        on_a(
            "SPLIT_COLUMN_MULTIPLE_DELIMITER",
            limit="2",
            patternOptions='[{"pattern":",","includeInSplit":true},{"pattern":" ","includeInSplit":false}]',
        ),
        {"a": ["x,y z"]},
        {"a_1": ["x,"], "a_2": ["y"], "a_3": ["z"]},
    ),
    (
        on_a(
            "SPLIT_COLUMN_BETWEEN_DELIMITER",
            patternOption1='{"pattern":"(","includeInSplit":true}',
            patternOption2='{"pattern":")"}',
        ),
        {"a": ["x(y)z", "xyz"]},
        {"a_1": ["x(", "xyz"], "a_2": ["y", None], "a_3": ["z", None]},
    ),
    (
        on_a("SPLIT_COLUMN_BETWEEN_POSITIONS", startPosition="2", endPosition="3"),
        {"a": ["abcd", "a"]},
        {"a_1": ["a", "a"], "a_2": ["bc", None], "a_3": ["d", None]},
    ),
    (on_a("SPLIT_COLUMN_FROM_START", position="1"), {"a": ["abc"]}, {"a_1": ["a"], "a_2": ["bc"]}),
    (on_a("SPLIT_COLUMN_FROM_END", position="2"), {"a": ["abc", "c"]}, {"a_1": ["a", None], "a_2": ["bc", "c"]}),
    (
        step(
            "BOOLEAN_OPERATION",
            valueExpression="(`a` < 10 and !contains(`b`, 'x')) or isMissing(`a`)",
            trueValueExpression="`b`",
            falseValueExpression="no, it isn't",
            targetColumn="t",
        ),
        {"a": ["9.5", "9", "11", None], "b": ["y", "xx", "z", "w"]},
        {"t": ["y", "no, it isn't", "no, it isn't", "w"]},
    ),
    (
        step(
            "CASE_OPERATION",
            valueExpression="case when `a` < `b` then 'less' when isValid(`a`, number) then `a` "
            "when matches(`a`, '^x') or startsWith(`a`, 'y') then 'x' when `a` >= '2024-01-01' then 'late' end",
            targetColumn="t",
        ),
        {"a": ["9", "12", "xa", "2024-05-01", "2023-01-01"], "b": ["10", "2", None, None, None]},
        {"t": ["less", "12", "x", "late", None]},
    ),
    # dates
    (
        on_a("FORMAT_DATE", targetDateFormat="dd month yyyy"),
        {"a": ["2024-05-01", "05/02/2024", "soon", None]},
        {"a": ["01 May 2024", "02 May 2024", "soon", None]},
    ),
    *(
        (to_t(name), {"a": ["2024-12-31T23:58:59.5-08:00", "2024-02-03", "x", None]}, {"t": [*parts, None, None]})
        for name, parts in {
            "YEAR": ["2024", "2024"],
            "QUARTER": ["4", "1"],
            "MONTH": ["12", "2"],
            "WEEK_NUMBER": ["1", "5"],
            "DAY": ["31", "3"],
            "HOUR": ["23", "0"],
            "MINUTE": ["58", "0"],
            "SECOND": ["59", "0"],
            "MONTH_NAME": ["December", "February"],
            "WEEK_DAY": ["Tuesday", "Saturday"],
        }.items()
    ),
    (
        to_t("DATE_FORMAT", dateTimeFormat="month*dd*yyyy HH:MM"),
        {"a": ["2024-05-01 10:30:00", "x"]},
        {"t": ["May*01*2024 10:30", None]},
    ),
    (
        to_t("DATE_ADD", units="MONTHS", dateAddValue="1"),
        {"a": ["2024-01-31", "x", None]},
        {"t": ["2024-02-29 00:00:00", None, None]},
    ),
    (
        to_t("DATE_ADD", units="QUARTERS", dateAddValue="-1", dateTimeFormat="yyyy-mm-dd"),
        {"a": ["2024-01-31"]},
        {"t": ["2023-10-31"]},
    ),
    (
        step("DATE_DIFF", sourceColumn1="a", value2="2020-10-06", units="DAYS", targetColumn="t"),
        {"a": ["2020-01-01", "2020-10-07", "x"]},
        {"t": ["279", "-1", None]},
    ),
    (
        step("DATE_DIFF", sourceColumn1="a", sourceColumn2="b", units="MONTHS", targetColumn="t"),
        {"a": ["2020-01-31"], "b": ["2020-03-30"]},
        {"t": ["1"]},
    ),
    (
        to_t("CONVERT_TIMEZONE", toTimeZone="America/Vancouver"),
        {"a": ["2024-03-10 09:59:59", "2024-03-10 10:00:00", "2024-07-01T00:00:00+00:00", "x"]},
        {"t": ["2024-03-10 01:59:59", "2024-03-10 03:00:00", "2024-06-30 17:00:00", None]},
    ),
    (
        to_t("CONVERT_TIMEZONE", fromTimeZone="UTC-08:00"),
        {"a": ["2024-07-01 00:00:00"]},
        {"t": ["2024-07-01 08:00:00"]},
    ),
    # arithmetic
    *(
        (
            step(name, sourceColumn1="a", value2="4", targetColumn="t"),
            {"a": ["10", "0.5", "x", None]},
            {"t": [*results, None, None]},
        )
        for name, results in {
            "ADD": ["14", "4.5"],
            "SUBTRACT": ["6", "-3.5"],
            "MULTIPLY": ["40", "2"],
            "DIVIDE": ["2.5", "0.125"],
            "MOD": ["2", "0.5"],
        }.items()
    ),
    (step("DIVIDE", value1="1", sourceColumn2="a", targetColumn="t"), {"a": ["0", "2"]}, {"t": [None, "0.5"]}),
    (to_t("POWER", value="0.5"), {"a": ["9", "-1", "x"]}, {"t": ["3", None, None]}),
    (to_t("POWER", value="-1"), {"a": ["0", "4"]}, {"t": [None, "0.25"]}),
    (to_t("POWER", value="9"), {"a": ["1e300", "2"]}, {"t": [None, "512"]}),
    (to_t("ABSOLUTE"), {"a": ["-1.5", "x"]}, {"t": ["1.5", None]}),
    (to_t("CEILING"), {"a": ["1.2", "-1.2"]}, {"t": ["2", "-1"]}),
    (to_t("FLOOR"), {"a": ["1.8", "-1.2"]}, {"t": ["1", "-2"]}),
    (to_t("ROUND"), {"a": ["2.5", "-2.5", "2.4"]}, {"t": ["3", "-2", "2"]}),
    (to_t("NEGATE"), {"a": ["2", None]}, {"t": ["-2", None]}),
    (to_t("SIGN"), {"a": ["2", "0", "-7"]}, {"t": ["1", "0", "-1"]}),
    (to_t("SQUARE_ROOT"), {"a": ["9", "-1"]}, {"t": ["3", None]}),
    # masking
    (
        of("MASK_CUSTOM", ["a"], maskSymbol="#", customValue="ab"),
        {"a": ["xabyab", None]},
        {"a": ["x##y##", None]},
    ),
    (
        of("MASK_CUSTOM", ["a"], maskSymbol="$", customValue="[0-9]+", regex="true"),
        {"a": ["a12b3"]},
        {"a": ["a$b$"]},
    ),
    (
        of("MASK_DATE", ["a"], maskSymbol="#", redact='["YEAR","DAY","MINUTE"]'),
        {"a": ["2024-05-01", "2024-05-01 10:30:59", "secret", None]},
        {"a": ["####-05-##", "####-05-## 10:##:59", "######", None]},
    ),
    (
        of("MASK_DELIMITER", ["a"], maskSymbol="#", startDelimiter="<", endDelimiter=">", alphabet='["WHITESPACE"]'),
        {"a": ["x<y z.>w", "none", None]},
        {"a": ["x<# ##>w", "none", None]},
    ),
    (
        of("MASK_DELIMITER", ["a"], maskSymbol="#", startDelimiter="<", endDelimiter=">", preserveDelimiters="false"),
        {"a": ["x<y>w"]},
        {"a": ["x###w"]},
    ),
    (of("MASK_DELIMITER", ["a"], maskSymbol="#", endDelimiter="@"), {"a": ["me@x"]}, {"a": ["##@x"]}),
    (
        of("MASK_RANGE", ["a"], maskSymbol="#", start="1", stop="-1", alphabet='["SYMBOLS"]'),
        {"a": ["ab-cd", "a", None]},
        {"a": ["a#-#d", "a", None]},
    ),
    (of("MASK_RANGE", ["a"], maskSymbol="\\", start="-2"), {"a": ["abc", "a"]}, {"a": ["a\\\\", "\\"]}),
    (of("CRYPTOGRAPHIC_HASH", ["a"], **ENCRYPT), {"a": ["x", "", None]}, {"a": [HASHED("x"), None, None]}),
]


@pytest.mark.parametrize(("given_step", "before", "after"), CASES, ids=[one[0]["Action"]["Operation"] for one in CASES])
def test_a_step_does_what_its_documentation_says(
    session: DuckDBSession, given_step: Mapping[str, Any], before: Mapping[str, Texts], after: Mapping[str, Texts]
) -> None:
    found = run(session, [given_step], before)
    for name, expected in after.items():
        values = found[name]
        if name == "_removed":
            values = [value and value.partition(", ")[2].partition(" ")[0].rstrip(",") for value in values]
        assert values == list(expected), name


ELSEWHERE = {  # held by tests of their own, here and in test_cleaning_recipe
    *(
        "RENAME",
        "DELETE",
        "CHANGE_DATA_TYPE",
        "MOVE_AFTER",
        "MOVE_BEFORE",
        "MOVE_TO_START",
        "MOVE_TO_END",
        "MOVE_TO_INDEX",
    ),
    *("REPLACE_WITH_RANDOM_BETWEEN", "REPLACE_WITH_RANDOM_DATE_BETWEEN", "SHUFFLE_ROWS", "DETERMINISTIC_ENCRYPT"),
}


def test_every_step_type_has_a_case() -> None:
    tried = {case[0]["Action"]["Operation"] for case in CASES}
    assert tried | ELSEWHERE == OPERATIONS.keys()
    assert not OPERATIONS.keys() & REFUSED.keys()


MANY = [f"v{number}" for number in range(40)]


def test_random_values_stay_within_bounds_and_come_again(session: DuckDBSession) -> None:
    steps = [
        of("REPLACE_WITH_RANDOM_BETWEEN", ["a"], lowerBound="-3", upperBound="3"),
        of("REPLACE_WITH_RANDOM_DATE_BETWEEN", ["b"], startDate="2024-02-28", endDate="2024-03-01 12:00:00"),
    ]
    given: Mapping[str, Texts] = {"a": [*MANY, None], "b": [*MANY, ""]}
    found = run(session, steps, given)
    numbers, dates = found["a"][:-1], found["b"][:-1]
    assert {int(one) for one in numbers} == set(range(-3, 4))
    assert len(set(dates)) > 30
    assert all("2024-02-28 00:00:00" <= one <= "2024-03-01 12:00:00" for one in dates)
    assert (found["a"][-1], found["b"][-1]) == (None, None)
    assert run(session, steps, given) == found


def test_shuffled_values_stay_in_their_group_and_leave_their_row(session: DuckDBSession) -> None:
    groups = ["even" if number % 2 else "odd" for number in range(40)]
    steps = [
        step("REMOVE_VALUES", ("IS", "a", "v7"), sourceColumn="a"),
        of("SHUFFLE_ROWS", ["a"], groupByColumns='["g"]'),
    ]
    found = run(session, steps, {"a": MANY, "g": groups})
    for group in ("even", "odd"):
        rows = [number for number, one in enumerate(groups) if one == group and number != 7]
        assert sorted(found["a"][number] for number in rows) == sorted(MANY[number] for number in rows)
        assert all(found["a"][number] != MANY[number] for number in rows)
        # Not simply the next row's: without the secret nobody can tell whose the value was.
        following = [MANY[number] for number in (*rows[1:], rows[0])]
        assert sum(found["a"][number] == value for number, value in zip(rows, following, strict=True)) < len(rows) / 2
    assert found["_removed"][7]


def test_encrypted_values_are_equal_where_they_were_and_come_back_with_the_secret_alone(session: DuckDBSession) -> None:
    found = run(session, [of("DETERMINISTIC_ENCRYPT", ["a"], **ENCRYPT)], {"a": ["x", "y", "x", None]})["a"]
    assert found[0] == found[2] != found[1]
    assert found[3] is None
    assert [decrypting(KEY, "s")(one) for one in found[:3]] == ["x", "y", "x"]
    for key, secret in ((bytes(32), "s"), (KEY, "t")):
        with pytest.raises(Exception, match="not encrypted under this secret"):
            decrypting(key, secret)(found[0])


def test_what_a_condition_leaves_out_stays_or_is_null(session: DuckDBSession) -> None:
    steps = [
        step("FILL_WITH_SUM", ("IS", "b", "fill"), sourceColumn="a"),
        step("ADD", ("IS", "b", "fill"), sourceColumn1="a", value2="1", targetColumn="t"),
        step("REPLACE_WITH_NULL", ("IS_NOT", "b", "fill"), sourceColumn="a", columnDataType="number"),
        step("REMOVE_DUPLICATES", ("IS_MISSING", "a", ""), sourceColumn="b"),
    ]
    found = run(session, steps, {"a": ["1", None, None, "x", None], "b": ["k", "fill", "no", "no", "no"]})
    assert found["a"] == ["1", "1.0", None, None, None]
    assert found["t"] == [None, "2", None, None, None]
    assert [bool(one) for one in found["_removed"]] == [False, False, False, True, True]


def test_removed_rows_count_for_nothing(session: DuckDBSession) -> None:
    steps = [
        step("REMOVE_VALUES", ("IS", "b", "out"), sourceColumn="b"),
        on_a("FILL_WITH_SUM"),
        to_t("FLAG_DUPLICATES_IN_COLUMN", trueString="T", falseString="F"),
    ]
    found = run(session, steps, {"a": ["100", "1", None, "100"], "b": ["out", "in", "in", "in"]})
    assert found["a"] == ["100", "1", "101.0", "100"]
    assert found["t"][3] == "F"


def test_invalid_is_what_the_contract_cannot_read(session: DuckDBSession) -> None:
    agreed = contract(when="DATE")
    steps = [
        step("REMOVE_VALUES", ("IS_INVALID", "w", ""), sourceColumn="w"),
        step("RENAME", sourceColumn="w", targetColumn="when"),
        step("CHANGE_DATA_TYPE", sourceColumn="when", columnDataType="date"),
    ]
    renamed = [step("RENAME", sourceColumn="when", targetColumn="w"), *steps]
    recipe, findings = parse_recipe(json.dumps(renamed), "r", agreed)
    assert recipe is not None, findings
    relation = "(SELECT * FROM (VALUES (0, '2024-02-30'), (1, '2024-02-29'), (2, NULL)) AS rows(_row, \"when\"))"
    select = cleaning_select(recipe, agreed, session.dialect, {"when": "when"}, relation, source_index=0)
    removed = session.rows(f"SELECT _removed IS NOT NULL FROM ({select}) ORDER BY _row")
    assert removed == [(True,), (False,), (False,)]


@pytest.mark.parametrize("folder", sorted((ROOT / "datasets").iterdir()), ids=lambda one: one.name)
def test_every_datasets_recipe_is_sql_for_spark_too(folder: Path) -> None:
    dataset, _ = load_dataset(folder)
    assert dataset is not None
    present = {column.source_name: column.source_name for column in dataset.contract.columns}
    sql = cleaning_select(dataset.recipe, dataset.contract, SparkDialect(), present, "rows", source_index=0)
    query = sqlglot.parse_one(sql, dialect=Spark)
    names = [one.alias_or_name for one in query.find(exp.Select).selects]
    assert names == [*(column.name for column in dataset.contract.columns), "_source", "_row", "_untyped", "_removed"]
