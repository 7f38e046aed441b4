"""What a citizen reads of a rule."""

import pytest

from city_platform.datasets import load_datasets
from city_platform.quality.parser import parse_ruleset
from city_platform.quality.pattern_example import example_of
from city_platform.quality.plain_language import explain, outcome_sentence
from city_platform.quality.results import Outcome
from city_platform.quality.rule_types import RULE_TYPES
from city_platform.quality.sql_in_words import condition_in_words
from tests.town import ROOT


def told(rule: str) -> str:
    ruleset, findings = parse_ruleset(f"Rules = [ {rule} ]", "rules.dqdl")
    assert ruleset is not None, findings
    return explain(ruleset.rules[0])


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ("RowCount > 0", "The number of rows has to be more than 0."),
        ("RowCount not between 10 and 20", "The number of rows has to be at most 10, or at least 20."),
        (
            "RowCount > avg(last(10)) * 0.9",
            "The number of rows has to be more than 0.9 times the average of the last 10 figures.",
        ),
        (
            'Sum "a" between min(last(10)) - 1 and max(last(10)) + 1',
            (
                "The sum of a has to be more than the lowest of the last 10 figures minus 1 "
                "and less than the highest of the last 10 figures plus 1."
            ),
        ),
        (
            'Sum "a" > percentile(last(6), 30.0)',
            "The sum of a has to be more than the value that 30 % of the last 6 figures stay below.",
        ),
        (
            'Completeness "a" >= 0.95 where "b > 3"',
            "The share of rows with a value in a has to be at least 95 %, counting only rows where b is more than 3.",
        ),
        (
            'Completeness "a" > 0.9 * avg(last(3))',
            "The share of rows with a value in a has to be more than 90 % of the average of the last 3 figures.",
        ),
        ('Uniqueness "a" < 20', "The share of rows whose value in a is theirs alone has to be less than 20."),
        ('IsComplete "a"', "Every row needs a value in a."),
        ('IsUnique "a" "b"', "No two rows may have the same values in a and b together."),
        ('IsPrimaryKey "a"', "Every row needs a value in a that no other row has."),
        ('IsPrimaryKey "a" "b"', "Every row needs a value in a and b, and no two rows may have the same combination."),
        ('ColumnValues "a" >= 0 where "a is not null"', "a has to be at least 0 in every row that has a value there."),
        ('ColumnValues "a" >= 0', "a has to be given and at least 0 in every row."),
        (
            'ColumnValues "a" between 1990 and 25000',
            "a has to be given and more than 1990 and less than 25,000 in every row.",
        ),
        ('ColumnValues "a" in ["x", "y", NULL]', "a has to be one of x and y, or missing, in every row."),
        ('ColumnValues "a" not in ["x", "y"]', "a must not be one of x and y in any row."),
        ('ColumnValues "a" != NULL', "a has to be given in every row."),
        (
            'ColumnValues "a" in ["1", "2", "3", "4", "5", "6", "7", "8", "9"]',
            "a has to be given and one of 1, 2, 3, 4, 5 and 4 others in every row.",
        ),
        (
            'ColumnValues "a" matches "[A-Z]{2}" where "a is not null" with threshold >= 0.99',
            "a has to look like “AA” in at least 99 % of the rows that have a value there.",
        ),
        ('ColumnValues "a" matches "x|yy"', "a has to be given and match the pattern x|yy in every row."),
        ('ColumnValues "a" <= (now() + 1 days)', "a has to be given and at most 1 day from now in every row."),
        (
            'ColumnValues "a" > (now() - 30 days) where "b = year(current_date)" with threshold > 0',
            "a has to be given and within the last 30 days in at least one of the rows where b is this year.",
        ),
        (
            'ColumnValues "a" between "1989-12-31" and "2101-01-01"',
            "a has to be given and after 1989-12-31 and before 2101-01-01 in every row.",
        ),
        (
            'ColumnLength "a" between 3 and 8',
            "a has to be more than 3 and less than 8 characters long in every row that has a value there.",
        ),
        ('ColumnLength "a" = 1', "a has to be exactly 1 character long in every row that has a value there."),
        (
            'ColumnDataType "a" = "Date" with format = "dd/MM/yyyy" with threshold > 0.9',
            "a has to be given and a date written like 31/05/2024 in more than 90 % of the rows.",
        ),
        ('ColumnDataType "a" != "Decimal(10,2)"', "a must not be a number with at most 2 decimals in any row."),
        ('ColumnNamesMatchPattern "city_"', "The name of every column has to contain something like “city_”."),
        ('DataFreshness "a" > 30 days', "a has to be given and more than 30 days ago in every row."),
        ('DataFreshness "a" <= 1 days', "a has to be given and at most 1 day ago in every row."),
        (
            'CustomSql "select count(*) from primary where a is null" = 0',
            "The number of rows where a is missing has to be exactly 0.",
        ),
        (
            'CustomSql "select * from primary where a is null or b = year(c)" with threshold >= 0.5',
            "It has to be true in at least 50 % of the rows that a is missing or b is the year of c.",
        ),
        (
            'CustomSql "select a from primary group by a" > 1',
            "The result of the query “select a from primary group by a” has to be more than 1.",
        ),
        (
            'StandardDeviation "a" < 3',
            "The usual distance of a from its average (the standard deviation) has to be less than 3.",
        ),
        ('ReferentialIntegrity "a" "streets.name" = 1.0', "The a of every row has to be found in name of streets."),
        (
            'ReferentialIntegrity "a,b" "streets.{c,d}" >= 0.9',
            "The share of rows whose a and b is found in c and d of streets has to be at least 90 %.",
        ),
        (
            'RowCountMatch "streets" between 0.9 and 1.1',
            "The number of rows, divided by that of streets, has to be more than 90 % and less than 110 %.",
        ),
        ('SchemaMatch "streets" = 1.0', "The columns have to have the same names and types as those of streets."),
        (
            'AggregateMatch "sum(a)" "sum(streets.b)" >= 0.95',
            "The sum of a, divided by the sum of b in streets, has to be at least 95 %.",
        ),
        (
            'DatasetMatch "streets" "id" "a->b" >= 1.0',
            "The share of rows that agree in a (there b) with the row of streets with the same id has to be 100 %.",
        ),
        ('DetectAnomalies "RowCount"', "The number of rows has to be in line with the figures before."),
        (
            'DetectAnomalies "Completeness" "a"',
            "The share of rows with a value in a has to be in line with the figures before.",
        ),
        (
            "FileSize > 2 MB with threshold >= 0.5",
            "At least 50 % of the source files have to be more than 2 MB in size.",
        ),
        ("FileFreshness > (now() - 24 hours)", "Every source file has to have arrived within the last 24 hours."),
        (
            '(IsComplete "a") or (IsUnique "b")',
            "Every row needs a value in a, or no two rows may have the same value in b.",
        ),
        (
            '((IsComplete "a") or (IsComplete "b")) and (RowCount > 5) and (IsUnique "c")',
            (
                "All of these must be true: (1) every row needs a value in a, or every row needs a value in b; "
                "(2) the number of rows has to be more than 5; (3) no two rows may have the same value in c."
            ),
        ),
        ('Nonsense "a" > 3', "The rule type Nonsense is not known, so nothing is demanded."),
    ],
)
def test_a_rule_is_one_sentence(rule: str, sentence: str) -> None:
    assert told(rule) == sentence


def test_every_rule_type_has_words_of_its_own() -> None:
    for name, kind in RULE_TYPES.items():
        parameters = " ".join(f'"c{place}"' for place in range(max(1, kind.columns[0]) if kind.columns[1] else 0))
        said = told(
            f"{name} {parameters} > 0.5" if kind.takes.name not in {"NOTHING", "DIGESTS"} else f"{name} {parameters}"
        )
        assert name not in said.split(), said


def test_shipped_rules_are_told_without_the_language_they_are_written_in() -> None:
    for dataset in load_datasets(ROOT / "datasets"):
        for rule in dataset.rules.rules:
            sentence = explain(rule)
            assert sentence.endswith("."), sentence
            assert not {">=", "<=", "null", "now()", "NULL", "cast(", "and and"} & set(sentence.split()), sentence


@pytest.mark.parametrize(
    ("pattern", "example"),
    [
        ("[0-9]{2}-[0-9]{6}", "00-000000"),
        (r"\d+(\.\d+)?", "0"),
        ("(a{3}b?)+", "aaa"),
        (".*", "x"),
        ("x|yy", None),  # one of two would pass for the only one
        ("[ab]c", None),
        ("(?!a).", None),
        ("(", None),
        ("a{999999}", None),
        ("[^a]", None),
    ],
)
def test_a_pattern_is_told_by_an_example_that_matches(pattern: str, example: str | None) -> None:
    assert example_of(pattern) == example


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("FeePaid is not null", "FeePaid is given"),
        ("a is null and (b = 'x' or c in (1, 2))", "a is missing and (b is x or c is one of 1 and 2)"),
        ("Year = year(current_date)", "Year is this year"),
        ("Days = datediff(Issued, Created)", "Days is the days from Created to Issued"),
        (
            "IssueDate <= cast(EndDate + interval 1 day as date)",
            "IssueDate is on or before the day of EndDate plus 1 day",
        ),
        ("x like 'a%'", "“x LIKE 'a%'”"),
        ("(a = 'x') = (b is null)", "a is x exactly when b is missing"),
        ("not (a > 1 and b between 2 and 3)", "it is not so that (a is more than 1 and b is from 2 to 3)"),
        ("1 = ", "“1 = ”"),
        ("(" * 3000 + "1 = 1" + ")" * 3000, "“" + "(" * 3000 + "1 = 1" + ")" * 3000 + "”"),
    ],
    ids=lambda text: str(text)[:30],
)
def test_a_condition_in_sql_is_told_in_words_and_left_as_it_is_where_there_are_none(sql: str, words: str) -> None:
    assert condition_in_words(sql) == words


@pytest.mark.parametrize(
    ("metric", "checked", "failed", "sentence"),
    [
        (1.0, 1, 0, "It holds: 1 of 1 row is as it should be (100 %)."),
        (0.99999, 100_000, 1, "It holds: 99,999 of 100,000 rows are as they should be (99.99 %)."),
        (0.5, 10, None, "It holds: it is 50 %."),
        (None, 10, None, "It holds."),
    ],
)
def test_an_outcome_is_one_sentence_and_nearly_all_is_not_all(
    metric: float | None, checked: int, failed: int | None, sentence: str
) -> None:
    said = outcome_sentence(
        Outcome.PASS, metric_name="completeness", metric=metric, checked=checked, failed=failed, reason=""
    )
    assert said == sentence
