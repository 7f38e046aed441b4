"""Every pair of statuses, and who may make the change."""

from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest

from city_platform.incidents.model import Resolution, Status
from city_platform.incidents.roles import SYSTEM, Actor
from city_platform.incidents.transitions import (
    ALLOWED,
    IllegalTransition,
    IncompleteTransition,
    NotYours,
    transition,
)
from tests.incidents import ADMIN, CITIZEN, MANAGER, NOW, OFFICER, OTHER, STEWARD, STRANGE_OFFICER, incident

# The design's table, as it is written there; the code's is not consulted.
TABLE = """
reported -> acknowledged in_progress scheduled info_requested forwarded resolved rejected duplicate cancelled
acknowledged -> in_progress scheduled info_requested forwarded resolved rejected duplicate cancelled
in_progress -> scheduled info_requested forwarded resolved rejected duplicate
scheduled -> in_progress forwarded resolved rejected
info_requested -> info_received acknowledged rejected cancelled
info_received -> acknowledged in_progress resolved rejected
forwarded -> in_progress resolved rejected acknowledged
resolved -> reopened
rejected -> reopened
duplicate -> reopened
cancelled ->
reopened -> acknowledged in_progress resolved rejected duplicate
"""
LEGAL = {
    (Status(left.strip()), Status(right))
    for left, _, rights in (line.partition("->") for line in TABLE.strip().splitlines())
    for right in rights.split()
}
ORIGINAL = incident(-60)


def moved(before: Status, to: Status, actor: Actor = ADMIN):  # type: ignore[no-untyped-def]  # what transition() gives
    closing = to.closed and to is not Status.CANCELLED
    duplicate = to is Status.DUPLICATE
    return transition(
        incident(status=before, closed_at=NOW if before.closed else None),
        to,
        actor=actor,
        now=NOW + timedelta(hours=1),
        note="seen on site" if closing else None,
        resolution=Resolution.FIXED if closing and not duplicate else None,
        original=ORIGINAL if duplicate else None,
    )


@pytest.mark.parametrize(("before", "to"), list(product(Status, Status)))
def test_every_pair_is_legal_or_refused_with_the_allowed_ones(before: Status, to: Status) -> None:
    if (before, to) in LEGAL:
        after = moved(before, to)
        assert (after.status, after.version, after.updated_at) == (to, 2, NOW + timedelta(hours=1))
        assert (after.closed_at is not None) == to.closed
        return
    with pytest.raises(IllegalTransition) as refusal:
        moved(before, to)
    assert set(refusal.value.allowed) == {right for left, right in LEGAL if left is before}


def test_the_code_knows_every_status() -> None:
    assert set(ALLOWED) == set(Status)


@pytest.mark.parametrize(
    ("actor", "to", "may"),
    [
        (OFFICER, Status.ACKNOWLEDGED, True),
        (MANAGER, Status.ACKNOWLEDGED, True),
        (SYSTEM, Status.ACKNOWLEDGED, True),
        (STRANGE_OFFICER, Status.ACKNOWLEDGED, False),
        (CITIZEN, Status.ACKNOWLEDGED, False),
        (STEWARD, Status.ACKNOWLEDGED, False),
        (CITIZEN, Status.CANCELLED, True),
        (OTHER, Status.CANCELLED, False),
        (OFFICER, Status.CANCELLED, False),
        (Actor(), Status.CANCELLED, False),
    ],
)
def test_who_may_change_what(actor: Actor, to: Status, may: bool) -> None:
    if may:
        assert moved(Status.REPORTED, to, actor).status is to
    else:
        with pytest.raises(NotYours):
            moved(Status.REPORTED, to, actor)


@pytest.mark.parametrize(("days", "actor", "may"), [(30, CITIZEN, True), (31, CITIZEN, False), (400, OFFICER, True)])
def test_a_reporter_reopens_within_thirty_days_and_staff_always(days: int, actor: Actor, may: bool) -> None:
    closed = incident(status=Status.RESOLVED, closed_at=NOW, resolution=Resolution.FIXED)
    again = {"actor": actor, "now": NOW + timedelta(days=days), "note": None, "resolution": None, "original": None}
    if may:
        after = transition(closed, Status.REOPENED, **again)
        assert (after.closed_at, after.resolution) == (None, None)
    else:
        with pytest.raises(NotYours, match="30 days"):
            transition(closed, Status.REOPENED, **again)


@pytest.mark.parametrize(
    ("to", "note", "resolution", "original", "fields"),
    [
        (Status.RESOLVED, None, None, None, {"note", "resolution"}),
        (Status.RESOLVED, "  ", Resolution.FIXED, None, {"note"}),
        (Status.RESOLVED, "done", Resolution.DUPLICATE, None, {"resolution"}),
        (Status.RESOLVED, "done", Resolution.FIXED, ORIGINAL, {"duplicate_of"}),
        (Status.DUPLICATE, "seen", None, None, {"duplicate_of"}),
        (Status.DUPLICATE, "seen", Resolution.FIXED, ORIGINAL, {"resolution"}),
        (Status.DUPLICATE, "seen", None, replace(ORIGINAL, status=Status.DUPLICATE), {"duplicate_of"}),
        (Status.ACKNOWLEDGED, None, Resolution.FIXED, None, {"resolution"}),
    ],
)
def test_what_a_change_lacks_is_named_all_at_once(to, note, resolution, original, fields) -> None:  # type: ignore[no-untyped-def]  # as above
    with pytest.raises(IncompleteTransition) as refusal:
        transition(incident(), to, actor=ADMIN, now=NOW, note=note, resolution=resolution, original=original)
    assert set(refusal.value.faults) == fields


def test_an_incident_cannot_repeat_itself() -> None:
    one = incident()
    with pytest.raises(IncompleteTransition, match="itself"):
        transition(one, Status.DUPLICATE, actor=ADMIN, now=NOW, note="x", resolution=None, original=one)


def test_what_is_offered_for_closing_is_taken() -> None:
    with pytest.raises(IncompleteTransition) as told:
        transition(incident(), Status.RESOLVED, actor=OFFICER, now=NOW, note="done", resolution=None, original=None)
    offered = told.value.faults["resolution"].partition(": ")[2].split(", ")
    for one in offered:
        closed = transition(
            incident(), Status.RESOLVED, actor=OFFICER, now=NOW, note="done", resolution=Resolution(one), original=None
        )
        assert closed.resolution == one
