"""Requests for information are rejected two weeks after they were made, where nobody answered."""

from datetime import timedelta
from pathlib import Path

import pytest

from city_platform.incidents.cursor import Cursors
from city_platform.incidents.model import Resolution, Status
from city_platform.incidents.roles import Role
from city_platform.incidents.service import IncidentService
from city_platform.incidents.unanswered import reject_unanswered
from city_platform.local.incidents import SqliteIncidentRepository
from city_platform.local.keys import LocalKeyService
from tests.incidents import CITIZEN, NOW, OFFICER, OTHER, reference, report
from tests.town import StandingClock


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock(NOW)


@pytest.fixture
def repository(tmp_path: Path, clock: StandingClock) -> SqliteIncidentRepository:
    return SqliteIncidentRepository(tmp_path / "incidents.sqlite", clock)


@pytest.fixture
def service(tmp_path: Path, clock: StandingClock, repository: SqliteIncidentRepository) -> IncidentService:
    return IncidentService(repository, reference(), LocalKeyService(tmp_path / "keys.json"), clock, Cursors(b"s" * 32))


def test_only_what_nobody_answered_for_two_weeks_is_rejected_and_says_so(
    service: IncidentService, repository: SqliteIncidentRepository, clock: StandingClock
) -> None:
    asked, answered, noted, late, unlocated = (
        service.report(report(**more), CITIZEN).incident.incident_id
        for more in ({}, {}, {}, {}, {"lat": None, "long": None, "address": "Main Street", "district": "fairview"})
    )
    staff = OFFICER.of("officer-1", ["officer"], ["mount-pleasant", "fairview"])
    for one in (asked, answered, noted, unlocated):
        service.transition(one, Status.INFO_REQUESTED, staff, note="Which side?")
    clock.time += timedelta(days=1)
    service.transition(late, Status.INFO_REQUESTED, staff)
    service.transition(answered, Status.INFO_RECEIVED, CITIZEN)
    service.comment(noted, "The northern one", CITIZEN, public=True)
    service.comment(asked, "Still waiting", staff, public=False)  # that is no answer, and gives no more time
    service.support(asked, OTHER)
    clock.time = NOW + timedelta(days=14) - timedelta(seconds=1)
    assert reject_unanswered(service, repository, clock.now()) == []
    clock.time = NOW + timedelta(days=14)
    rejected = reject_unanswered(service, repository, clock.now())
    assert {one.incident_id for one in rejected} == {asked, unlocated}
    assert {(one.status, one.resolution) for one in rejected} == {(Status.REJECTED, Resolution.NOT_FIXED)}
    last = service.history(asked, CITIZEN)[-1]
    assert (last.role, "no answer for 14 days" in (last.note or "")) == (Role.SYSTEM, True)
    assert reject_unanswered(service, repository, clock.now()) == []
    assert service.transition(asked, Status.REOPENED, CITIZEN).status is Status.REOPENED
