"""What the scorecard says, from evaluations whose figures can be counted by hand."""

import json
from dataclasses import replace
from datetime import datetime, timedelta

from city_platform.governance.audit import Head
from city_platform.governance.history import EvaluationRecord
from city_platform.governance.scorecard import PartitionState, Scorecard, scorecard
from city_platform.governance.scorecard_page import html, markdown
from city_platform.quality.gate import Decisions, standing
from city_platform.quality.results import Outcome, RuleResult
from tests.verdicts import NOW, RESULT, VERDICT, WAIVER

FAIL = replace(RESULT, outcome=Outcome.FAIL, rows_failed=5)
OTHER = replace(RESULT, rule_id="row_count", rows_failed=None)

UNDECIDED = Decisions()


def state(
    year: str, results: tuple[RuleResult, ...], decisions: Decisions = UNDECIDED, *days_ago: int
) -> PartitionState:
    """A year judged a day ago, with one earlier evaluation of all passes for each of `days_ago`."""
    passed = all(result.outcome is Outcome.PASS for result in results)
    at = NOW - timedelta(days=1)
    verdict = replace(VERDICT, partition=year, passed=passed, results=results, evaluated_at=at)
    good = tuple(replace(result, outcome=Outcome.PASS) for result in results)
    history = [
        EvaluationRecord(
            dataset=verdict.dataset,
            partition=year,
            data_version="v1",
            ruleset_hash="r1",
            rests_on={},
            evaluated_at=when,
            seconds=0.1,
            rows=20,
            rows_failed=1,
            results=found,
            advisory={},
            figures={},
            sequence=1,
        )
        for when, found in [(at, results), *((NOW - timedelta(days=days), good) for days in days_ago)]
    ]
    stands = standing(
        verdict,
        dataset=verdict.dataset,
        partition=year,
        data_version="v1",
        ruleset_hash="r1",
        decisions=decisions,
        now=NOW,
    )
    return PartitionState(verdict, stands, history, ("city-platform quality waive …",))


def card(at: datetime = NOW) -> Scorecard:
    waiver = replace(WAIVER, partition="2023", rules=("completeness_status",))
    states = [
        state("2024", (FAIL, OTHER), Decisions(), 30),
        state("2023", (FAIL, OTHER), Decisions((waiver,)), 20),
        state("2022", (RESULT, OTHER)),
    ]
    return scorecard(at, states, Head(3, "ab" * 32), ())


def test_scores_are_shares_of_rules_that_passed() -> None:
    found = card()
    assert [(one.verdict.partition, one.score) for one in found.partitions] == [
        ("2022", 1.0),
        ("2023", 0.5),
        ("2024", 0.5),
    ]
    assert found.scores == {"business_licences": 4 / 6}


def test_the_trend_counts_every_year_by_its_newest_evaluation() -> None:
    assert [(NOW - at).days for at, _ in card().trend["business_licences"]] == [30, 20, 1, 1, 1]
    assert [score for _, score in card().trend["business_licences"]] == [1.0, 1.0, 1.0, 5 / 6, 4 / 6]


def test_closed_gates_waivers_and_worst_rules_are_named() -> None:
    found = card()
    assert [one.verdict.partition for one in found.failing] == ["2024"]
    assert [waiver.partition for waiver in found.waivers] == ["2023"]
    (worst,) = found.worst
    assert (worst.rule_id, worst.partitions_failing, worst.partitions) == ("completeness_status", 2, 3)
    assert (worst.rows_failed, worst.rows_checked) == (11, 60)
    assert found.stale == []
    assert len(card(NOW + timedelta(days=7)).stale) == 3


def test_a_worst_rule_is_explained_by_the_year_that_failed_it() -> None:
    failed, held = replace(FAIL, explanation="It does not hold."), replace(RESULT, explanation="It holds.")
    found = scorecard(NOW, [state("2023", (failed, OTHER)), state("2024", (held, OTHER))], Head(1, "c" * 64), ())
    assert [one.explanation for one in found.worst] == ["It does not hold."]


def test_both_forms_say_all_of_it_and_escape_what_people_wrote() -> None:
    nasty = replace(WAIVER, partition="2023", rules=("completeness_status",), reason="<script>alert(1)</script> | x")
    found = scorecard(NOW, [state("2023", (FAIL, OTHER), Decisions((nasty,)))], Head(1, "c" * 64), ("entry 2 is gone",))
    told, page = markdown(found, "America/Vancouver"), html(found, "America/Vancouver")
    for text in (told, page):
        assert "completeness_status" in text
        assert "entry 2 is gone" in text
        assert "50.0%" in text
    assert "<script>" not in page
    assert "<svg" in page
    assert "fill: #ffffff" not in page  # its words would not be seen on white, where the reader wants it dark
    assert "\\| x |" in told
    assert page == html(found, "America/Vancouver")  # the same scorecard, the same bytes
    assert json.loads(json.dumps(found.to_json()))["waivers"][0]["number"] == 1


def test_an_empty_lake_has_a_scorecard() -> None:
    empty = scorecard(NOW, [], Head(0, "0" * 64), ())
    assert "0 partitions" in markdown(empty, "America/Vancouver")
    assert "<svg" in html(empty, "America/Vancouver")


def test_what_no_weekly_run_evaluates_has_not_missed_one() -> None:
    later = NOW + timedelta(days=9)
    hours = [replace(state("2024", (RESULT,)), weekly=one) for one in (True, False)]
    assert scorecard(later, hours, Head(0, "0" * 64), ()).stale == hours[:1]
