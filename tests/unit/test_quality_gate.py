"""Verdicts keep what they say, and the gate lets through exactly what was judged."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from city_platform.errors import PermanentError
from city_platform.quality.gate import Decisions, GateClosed, Rejection, Standing, standing
from city_platform.quality.gate import admit as admit_standing
from city_platform.quality.results import Outcome
from city_platform.quality.verdict import UnreadableVerdict, Verdict
from tests.verdicts import FAILED, NOW, RESULT, VERDICT, WAIVER

ASKED: dict[str, Any] = {
    "dataset": "business_licences",
    "partition": "2024",
    "data_version": "v1",
    "ruleset_hash": "r1",
    "decisions": Decisions(),
    "now": NOW,
}
REJECTION = Rejection(2, "business_licences", "2024", "v1", "the extract is of a test system", "open-data-steward", NOW)


def admit(verdict: Verdict | None, **asked: Any) -> Standing:
    """How the gate stands, if it lets the data through."""
    found = standing(verdict, **asked)
    admit_standing(found, asked["dataset"], asked["partition"])
    return found


def test_a_verdict_survives_being_written_down() -> None:
    text = VERDICT.to_json()
    assert Verdict.from_json(text) == VERDICT
    assert Verdict.from_json(text.encode()).to_json() == text


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 99}', VERDICT.to_json().replace('"rows": 20', '"lines": 20')]
)
def test_what_is_no_verdict_says_so(text: str) -> None:
    with pytest.raises(UnreadableVerdict, match="evaluate the partition again"):
        Verdict.from_json(text)


def test_the_judged_data_is_admitted() -> None:
    found = admit(VERDICT, **ASKED)
    assert (found.open, found.word, found.waivers) == (True, "open", {})


@pytest.mark.parametrize(
    ("verdict", "asked", "said"),
    [
        (None, {}, "no verdict"),
        (VERDICT, {"data_version": "v2"}, "about other data"),
        (VERDICT, {"ruleset_hash": "r2"}, "rules have changed"),
        (VERDICT, {"partition": "2023"}, "is about business_licences 2024"),
        (VERDICT, {"dataset": "parking_tickets"}, "is about business_licences 2024"),
        (replace(VERDICT, rows=0), {}, "no rows"),
        (replace(VERDICT, passed=False), {}, "evaluation as a whole"),
        (replace(VERDICT, passed=False, results=(replace(RESULT, outcome=Outcome.FAIL),)), {}, "completeness_status"),
        # A verdict that says it passed and lists a failed halting rule is not believed.
        (replace(VERDICT, results=(replace(RESULT, outcome=Outcome.FAIL),)), {}, "completeness_status"),
    ],
)
def test_everything_else_is_refused_with_the_reason(verdict: Verdict | None, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(GateClosed, match=said) as refused:
        admit(verdict, **(ASKED | asked))
    assert isinstance(refused.value, PermanentError)
    assert "again" in str(refused.value)


def test_a_waiver_of_every_failing_rule_opens_the_gate_and_is_named() -> None:
    found = admit(FAILED, **(ASKED | {"decisions": Decisions((WAIVER,))}))
    assert found.word == "waived"
    assert found.waivers == {"completeness_status": WAIVER, "row_count": WAIVER}


def test_waivers_add_up() -> None:
    halves = tuple(replace(WAIVER, number=n, rules=(rule,)) for n, rule in enumerate(WAIVER.rules))
    assert admit(FAILED, **(ASKED | {"decisions": Decisions(halves)})).word == "waived"


def test_the_newest_waiver_of_a_rule_counts() -> None:
    longer = replace(WAIVER, number=2, expires_at=WAIVER.expires_at + timedelta(days=1))
    over = replace(WAIVER, number=3, rules=("row_count",), expires_at=NOW)
    after = ASKED | {"now": WAIVER.expires_at}
    assert standing(FAILED, **(after | {"decisions": Decisions((longer, WAIVER))})).waivers["row_count"] == longer
    cut_short = standing(FAILED, **(ASKED | {"decisions": Decisions((WAIVER, longer, over))}))
    assert (cut_short.unwaived, cut_short.lapsed) == (("row_count",), (over,))


@pytest.mark.parametrize(("seconds", "word"), [(-1, "waived"), (0, "lapsed"), (1, "lapsed")])
def test_it_closes_at_the_very_second_the_waiver_expires(seconds: int, word: str) -> None:
    now = WAIVER.expires_at + timedelta(seconds=seconds)
    found = standing(FAILED, **(ASKED | {"decisions": Decisions((WAIVER,)), "now": now}))
    assert found.word == word
    assert found.lapsed == (() if word == "waived" else (WAIVER,))


@pytest.mark.parametrize(
    "other",
    [
        {"dataset": "parking_tickets"},
        {"partition": "2023"},
        {"data_version": "v0"},
        {"ruleset_hash": "r0"},
        {"rules": ("row_count",)},
        {"rules": ("another_rule",)},
    ],
)
def test_a_waiver_covers_nothing_else(other: dict[str, Any]) -> None:
    decisions = Decisions((replace(WAIVER, **other),))
    with pytest.raises(GateClosed, match="completeness_status"):
        admit(FAILED, **(ASKED | {"decisions": decisions}))


def test_a_record_in_doubt_waives_nothing_and_still_rejects() -> None:
    with pytest.raises(GateClosed, match="entry 3 is missing"):
        admit(FAILED, **(ASKED | {"decisions": Decisions((WAIVER,), doubts=("entry 3 is missing",))}))
    doubted = Decisions(rejections=(REJECTION,), doubts=("entry 3 is missing",))
    assert standing(VERDICT, **(ASKED | {"decisions": doubted})).word == "rejected"
    # What passed by itself needs no decision, so it does not wait for the log's repair.
    assert admit(VERDICT, **(ASKED | {"decisions": Decisions(doubts=("entry 3 is missing",))})).word == "open"


@pytest.mark.parametrize("verdict", [VERDICT, FAILED, None])
def test_what_was_rejected_never_passes(verdict: Verdict | None) -> None:
    with pytest.raises(GateClosed, match="rejected by open-data-steward: the extract is of a test system"):
        admit(verdict, **(ASKED | {"decisions": Decisions((WAIVER,), (REJECTION,))}))


@pytest.mark.parametrize("other", [{"dataset": "parking_tickets"}, {"partition": "2023"}, {"data_version": "v0"}])
def test_a_rejection_is_of_nothing_else(other: dict[str, Any]) -> None:
    decisions = Decisions(rejections=(replace(REJECTION, **other),))
    assert admit(VERDICT, **(ASKED | {"decisions": decisions})).word == "open"


def test_nothing_waives_an_empty_partition() -> None:
    with pytest.raises(GateClosed, match="no rows"):
        admit(replace(FAILED, rows=0), **(ASKED | {"decisions": Decisions((WAIVER,))}))
