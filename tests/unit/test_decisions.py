"""Who may decide, what a decision has to say, and that what was refused leaves nothing but the note of the attempt."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from city_platform.contracts.load import load_contract
from city_platform.contracts.model import Contract, Member
from city_platform.datasets import load_datasets
from city_platform.governance.audit import AuditLog
from city_platform.governance.decisions import Desk, InvalidDecision, read_decisions, waivers_in_force
from city_platform.governance.roles import NotEntitled, require_steward, stewards
from city_platform.local.store import LocalObjectStore
from city_platform.quality.results import Outcome
from tests.town import FIXTURES, StandingClock
from tests.verdicts import RESULT
from tests.verdicts import VERDICT as JUDGED

CLOCK = StandingClock()
REASON = "the nursery confirmed that these are unknown"
RULE = "completeness_species"
VERDICT = replace(
    JUDGED,
    dataset="trees",
    passed=False,
    results=(
        replace(RESULT, rule_id=RULE, outcome=Outcome.FAIL),
        replace(RESULT, rule_id="has_rows"),
    ),
)
SOON = CLOCK.time + timedelta(days=7)


@pytest.fixture(scope="module")
def contract() -> Contract:
    return load_datasets(FIXTURES)[0].contract


@pytest.fixture
def desk(contract: Contract, tmp_path: Path) -> Desk:
    return Desk(AuditLog(LocalObjectStore(tmp_path), CLOCK), contract, "parks-steward", "tester")


def actions(desk: Desk) -> list[str]:
    return [entry.action for entry in desk.log.read().entries]


def test_a_waiver_is_read_as_it_was_given(desk: Desk) -> None:
    waiver = desk.waive(VERDICT, [RULE], f"  {REASON}\n", SOON)
    assert read_decisions(desk.log).waivers == (waiver,)
    assert (waiver.number, waiver.reason, waiver.expires_at, waiver.actor) == (1, REASON, SOON, "parks-steward")
    (entry,) = desk.log.read().entries
    assert entry.account == "tester"
    assert waivers_in_force(desk.log, VERDICT, CLOCK.now()) == {RULE: waiver}
    assert waivers_in_force(desk.log, VERDICT, SOON) == {}


@pytest.mark.parametrize("actor", ["parks-engineer", "Parks-Steward", "data steward", "open-data-steward"])
def test_without_the_role_nothing_is_decided_and_the_attempt_is_noted(desk: Desk, actor: str) -> None:
    nobody = replace(desk, actor=actor)
    for attempt in (
        lambda: nobody.waive(VERDICT, [RULE], REASON, SOON),
        lambda: nobody.reject("2024", "v1", REASON),
        lambda: nobody.release(VERDICT, "open", REASON),
        lambda: nobody.propose("2024", "v1", "0" * 64, REASON),
    ):
        with pytest.raises(NotEntitled, match=r"only parks-steward may|role account"):
            attempt()
    decided = read_decisions(desk.log)
    assert (decided.waivers, decided.rejections) == ((), ())
    assert set(actions(desk)) <= {"refused"}
    assert len(actions(desk)) == (0 if " " in actor else 4)


@pytest.mark.parametrize(
    ("member", "entitled"),
    [
        (Member("a", "data steward"), True),
        (Member("a", "Data Steward"), True),
        (Member("a", "engineer"), False),
        (Member("a", "data steward", first_day=date(2026, 3, 9), last_day=date(2026, 3, 9)), True),
        (Member("a", "data steward", first_day=date(2026, 3, 10)), False),
        (Member("a", "data steward", last_day=date(2026, 3, 8)), False),
    ],
)
def test_the_role_counts_from_its_first_day_to_its_last(contract: Contract, member: Member, entitled: bool) -> None:
    assert stewards(replace(contract, members=(member,)), date(2026, 3, 9)) == (("a",) if entitled else ())


def test_the_role_counts_by_the_citys_calendar_and_the_refusal_says_what_was_refused(contract: Contract) -> None:
    member = Member("a", "data steward", last_day=date(2026, 3, 9))
    one = replace(contract, timezone="America/Vancouver", members=(member,))
    late = datetime(2026, 3, 10, 6, 30, tzinfo=UTC)  # the evening of the ninth there
    require_steward(one, "a", late, "publish")
    with pytest.raises(NotEntitled, match=r"^a may not publish; nobody may"):
        require_steward(one, "a", late + timedelta(hours=1), "publish")


def test_a_dataset_without_a_steward_says_so(desk: Desk, contract: Contract) -> None:
    with pytest.raises(NotEntitled, match=r"nobody may: no member .* 'data steward'"):
        replace(desk, contract=replace(contract, members=())).reject("2024", "v1", REASON)


def test_everything_wrong_with_a_waiver_is_said_at_once(desk: Desk) -> None:
    with pytest.raises(InvalidDecision) as refused:
        desk.waive(VERDICT, ["has_rows"], "call 604-555-0123", CLOCK.time)
    told = str(refused.value)
    assert len(refused.value.problems) == 3
    assert all(word in told for word in ("telephone", "has_rows", RULE, "cannot expire", "until 2027"))
    assert actions(desk) == []


@pytest.mark.parametrize(
    "reason", ["", "too short", "x" * 501, "a control \x1b[31m character", "ask a@example.org why"]
)
def test_a_reason_has_to_be_one(desk: Desk, reason: str) -> None:
    with pytest.raises(InvalidDecision, match="the reason"):
        desk.reject("2024", "v1", reason)
    assert actions(desk) == []


def test_a_rejected_version_stays_rejected(desk: Desk) -> None:
    rejection = desk.reject("2024", "v1", REASON)
    assert read_decisions(desk.log).rejections == (rejection,)
    with pytest.raises(InvalidDecision, match="rejected already"):
        desk.reject("2024", "v1", REASON)
    with pytest.raises(InvalidDecision, match="was rejected, and stays so"):
        desk.waive(VERDICT, [RULE], REASON, SOON)
    assert actions(desk) == ["reject"]


def test_a_decision_that_cannot_be_read_puts_the_record_in_doubt(desk: Desk) -> None:
    desk.waive(VERDICT, [RULE], REASON, SOON)
    desk.log.append(actor="parks-steward", account="tester", action="waive", facts={"dataset": "trees"})
    assert read_decisions(desk.log).doubts == ("entry 2 is not a decision as this version writes them",)
    assert waivers_in_force(desk.log, VERDICT, CLOCK.now()) == {}


def test_members_are_read_with_every_mistake() -> None:
    text = (FIXTURES / "trees" / "contract.yaml").read_text()
    known = "    - username: parks-steward\n      role: data steward\n"
    contract, findings = load_contract(text, "contract.yaml")
    assert contract is not None, findings
    assert contract.members == (Member("parks-steward", "data steward"),)
    wrong = known + (
        "    - username: parks-steward\n      role: engineer\n"
        "    - username: someone@example.org\n      role: engineer\n"
        "    - username: no-role\n"
        "    - username: dated\n      role: engineer\n      dateIn: soon\n      dateOut: '2026-12-31'\n"
    )
    contract, findings = load_contract(text.replace(known, wrong), "contract.yaml")
    assert contract is None
    told = [finding.problem for finding in findings]
    for words in ("stands here again", "cannot be a role account", "'no-role' has no 'role'", '"soon" is not a date'):
        assert any(words in one for one in told), told
    assert len(told) == 4
