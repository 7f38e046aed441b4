"""A ruleset against its dataset: every mistake at once, each with what to write instead; and labels and ids."""

import pytest

from city_platform.quality.binding import check_ruleset
from city_platform.quality.declared import declared_rules
from city_platform.quality.model import Ruleset
from city_platform.quality.parser import parse_ruleset
from city_platform.quality.settings import Action, Route, Severity, rule_id, settings_of
from tests.rulesets import contract_with

CONTRACT = contract_with(
    {
        "Status": "VARCHAR",
        "FeePaid": "DECIMAL(12,2)",
        "IssuedDate": "TIMESTAMP WITH TIME ZONE",
        "ExpiredDate": "DATE",
        "Age": "INTEGER",
    },
    personal=("Age",),
)


def read(text: str) -> Ruleset:
    ruleset, findings = parse_ruleset(text, "rules.dqdl")
    assert ruleset is not None, findings
    return ruleset


def findings(rules: str, before: str = "") -> list[str]:
    return [str(finding) for finding in check_ruleset(read(f"{before} Rules = [\n{rules}\n]"), CONTRACT)]


@pytest.mark.parametrize(
    "rule",
    [
        'IsComplete "status"',  # columns whatever their case
        'ColumnValues "FeePaid" between 0 and 10 where "STATUS = \'Issued\'" with threshold > 0.9',
        'ColumnValues "IssuedDate" > (now() - 3 days)',
        'ColumnValues "ExpiredDate" in ["2024-12-31", NULL]',
        'DataFreshness "IssuedDate" > 30 days',
        'ColumnExists "Status"',
        'CustomSql "select count(*) from primary where FeePaid > 1" > 3',
        'RowCount > avg(last(3)) labels=["action"="warn"]',
        'ColumnValues "FeePaid" < max(last(5)) * 2',
        'ColumnValues "Status" in ["a"] with threshold > avg(last(3))',
        'DetectAnomalies "Mean" "Age"',
        'ReferentialIntegrity "status,feepaid" "other.{a,b}" = 1.0',
        'AggregateMatch "sum(FeePaid)" "sum(primary.FeePaid)" = 1.0',
        "FileSize > 2 KB with recentFiles = 3",
        "FileFreshness > (now() - 2 days)",
        'SchemaMatch "reference" = 1.0 labels=["action"="warn"]',
        'Uniqueness "FeePaid" < 20 labels=["action"="warn"]',
    ],
)
def test_sound_rules_have_no_finding(rule: str) -> None:
    assert findings(rule) == []


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ('IsComplete "Statsu"', "did you mean Status?"),
        ('IsComplet "Status"', "did you mean IsComplete?"),
        ('ColumnExists "Colour"', "no column"),
        ('Mean "Status" > 1', "numbers are needed"),
        ('ColumnLength "FeePaid" > 1', "no length"),
        ('ColumnValues "FeePaid" in ["a"]', "not a number"),
        ('ColumnValues "Status" > 5', "text and is compared with numbers"),
        ('ColumnValues "ExpiredDate" > "soon"', "not a date"),
        ('DataFreshness "Status" < 3 days', "needs a date column"),
        ('DataFreshness "ExpiredDate" < 3', "duration"),
        ('Completeness "Status" > "much"', "not a number"),
        ('Completeness "Status"', "a condition is missing"),
        ('IsComplete "Status" > 3', "takes no condition"),
        ('ColumnDataType "Status" = "Colour"', "is not a type"),
        ("RowCount > last(3)", "say which one is meant"),
        ('Completeness "Status" > mode(last(3))', "is not understood"),
        ('ColumnValues "FeePaid" > index(last(2), 2)', "counts from 0"),
        ('DetectAnomalies "IsComplete" "Status"', "no figures to watch"),
        ('DetectAnomalies "Mean" "Feepayed"', "did you mean FeePaid?"),
        ('DetectAnomalies "ColumnValues" "Age"', "Age is personal"),
        ('ColumnValues "Age" < max(last(3))', "Age is personal"),
        ('ReferentialIntegrity "Statsu" "other.a" = 1.0', "did you mean Status?"),
        ('ReferentialIntegrity "Status" "other" = 1.0', "names no columns"),
        ('AggregateMatch "max(FeePaid)" "sum(FeePaid)" = 1.0', "is no aggregate"),
        ("FileSize > 3 days", "a number belongs here"),
        ('FileFreshness > "soon"', "not a date"),
        ('IsComplete "Status" IsUnique "Status"', "is a comma missing"),
        ('IsComplete "Status" with threshold > 0.9', "no `with threshold`"),
        ('ColumnCount > 3 where "FeePaid > 1"', "no `where`"),
        ('IsComplete "Status" where "Statsu = 1"', "did you mean Status?"),
        ('IsComplete "Status" where "1 = "', "not a SQL statement"),
        ('CustomSql "select * from other"', "not available"),
        ("CustomSql $sql > 1", "$sql is not defined"),
        ('IsComplete "Status" labels=["action"="quarantin"]', "did you mean quarantine?"),
        ('IsComplete "Status" labels=["severity"="high"]', "one of warn, error"),
        ('IsComplete "Status" labels=["name"="a b"]', "letters, digits and _"),
        ('RowCount > 1 labels=["action"="quarantine"]', "cannot route rows"),
        ('IsComplete "Status" labels=["action"="warn", "route"="row"]', "contradict"),
        ('Completeness "Status" > 0.1, Completeness "STATUS" > 0.2', "two rules have the id completeness_status"),
    ],
)
def test_a_mistake_comes_with_its_place_and_a_remedy(rule: str, said: str) -> None:
    found = findings(rule)
    assert any(said in one for one in found), found
    assert all(one.startswith("rules.dqdl:2:") and " -> " in one for one in found), found


def test_all_mistakes_are_told_at_once() -> None:
    assert len(findings('IsComplete "A1",\nIsUnique "A2",\nNonsense "A3"')) == 3


@pytest.mark.parametrize(
    ("analyzer", "said"),
    [
        ('IsComplete "Status"', "no analyzer"),
        ('AllStatistics "Age"', "Age is personal"),
        ('Mean "FeePayed"', "did you mean FeePaid?"),
    ],
)
def test_analyzers_are_checked_too(analyzer: str, said: str) -> None:
    sound = 'Analyzers = [ RowCount, AllStatistics "FeePaid", ColumnValues "Status", Distribution "Status" ]'
    assert [str(one) for one in check_ruleset(read(sound), CONTRACT)] == []
    (finding,) = check_ruleset(read(f"Analyzers = [ {analyzer} ]"), CONTRACT)
    assert said in str(finding)


def test_a_wrong_default_label_is_found() -> None:
    assert any("close" in one for one in findings("RowCount > 0", before='DefaultLabels = ["action"="close"]'))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ('IsComplete "Status"', (Action.QUARANTINE, Route.ROW, Severity.WARN)),
        ('Completeness "Status" > 0.9', (Action.HALT, Route.GATE, Severity.ERROR)),
        ('ColumnValues "Status" in ["a"] with threshold > 0.9', (Action.HALT, Route.GATE, Severity.ERROR)),
        ("RowCount > 0", (Action.HALT, Route.GATE, Severity.ERROR)),
        ('(IsComplete "Status") or (IsComplete "FeePaid")', (Action.HALT, Route.GATE, Severity.ERROR)),
        ('IsComplete "Status" labels=["action"="warn"]', (Action.WARN, Route.GATE, Severity.WARN)),
        ('IsComplete "Status" labels=["action"="halt", "route"="row"]', (Action.HALT, Route.ROW, Severity.ERROR)),
    ],
)
def test_what_labels_mean(rule: str, expected: tuple[Action, Route, Severity]) -> None:
    ruleset = read(f"Rules = [ {rule} ]")
    settings = settings_of(ruleset.rules[0], ruleset)
    assert (settings.action, settings.route, settings.severity) == expected


def test_default_labels_apply_until_a_rule_says_otherwise() -> None:
    ruleset = read(
        'DefaultLabels = ["action"="warn", "owner"="team:a"] '
        'Rules = [ RowCount > 0, RowCount > 1 labels=["action"="halt", "name"="enough"] ]'
    )
    first, second = (settings_of(rule, ruleset) for rule in ruleset.rules)
    assert (first.action, first.owner, second.action, second.owner) == (Action.WARN, "team:a", Action.HALT, "team:a")


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ('Completeness "Status" >= 0.95', "completeness_status"),
        ('Completeness "STATUS" >= 0.5', "completeness_status"),  # the threshold is no part of the name
        ('IsPrimaryKey "A b" "C-d"', "is_primary_key_a_b_c_d"),
        ('(IsComplete "a") and (RowCount > 1)', "is_complete_a_and_row_count"),
        ('RowCount > 1 labels=["name"="Enough_rows"]', "Enough_rows"),
    ],
)
def test_rule_ids_are_stable_and_valid_check_names(rule: str, expected: str) -> None:
    assert rule_id(read(f"Rules = [ {rule} ]").rules[0]) == expected


def test_rules_are_declared_in_words() -> None:
    ruleset = read(
        'Rules = [ Completeness "Status" >= 0.95, ColumnValues "FeePaid" >= 0 where "FeePaid is not null", '
        'ColumnValues "ExpiredDate" > (now() - 3 days), (IsComplete "Status") or (IsUnique "FeePaid") ]'
    )
    assert [one.explanation for one in declared_rules(ruleset)] == [
        "The share of rows with a value in Status has to be at least 95 %.",
        "FeePaid has to be at least 0 in every row that has a value there.",
        "ExpiredDate has to be given and within the last 3 days in every row.",
        "Every row needs a value in Status, or no two rows may have the same value in FeePaid.",
    ]
