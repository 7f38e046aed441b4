"""The service over a real store in a file: reports, replays, visibility, duplicates, supporters."""

from datetime import timedelta
from pathlib import Path

import pytest

from city_platform.incidents.cursor import Cursors
from city_platform.incidents.idempotency import KeyReused
from city_platform.incidents.model import UNLOCATED, Contact, Resolution, Severity, Status, Visibility
from city_platform.incidents.report import InvalidRequest
from city_platform.incidents.repository import AlreadyDone, Listing, Pattern, VersionConflict
from city_platform.incidents.roles import ANONYMOUS
from city_platform.incidents.service import IncidentNotFound, IncidentService
from city_platform.incidents.transitions import NotYours
from city_platform.local.incidents import SqliteIncidentRepository
from city_platform.local.keys import LocalKeyService
from tests.incidents import (
    ADMIN,
    CITIZEN,
    MANAGER,
    NOW,
    OFFICER,
    OTHER,
    STEWARD,
    STRANGE_OFFICER,
    reference,
    report,
)
from tests.town import StandingClock

HERE = Listing(Pattern.DISTRICT_CATEGORY, ("mount-pleasant", "road_damage"))


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock(NOW)


@pytest.fixture
def service(tmp_path: Path, clock: StandingClock) -> IncidentService:
    keys = LocalKeyService(tmp_path / "keys.json")
    keys.ensure("alias/city-platform/incidents/contact")
    store = SqliteIncidentRepository(tmp_path / "incidents.sqlite", clock)
    return IncidentService(store, reference(), keys, clock, Cursors(b"s" * 32))


def test_a_refused_report_writes_nothing(service: IncidentService, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest):
        service.report(report(title="x"), CITIZEN)
    assert not (tmp_path / "incidents.sqlite").exists()


@pytest.mark.parametrize("length", [0, 256])
def test_a_key_has_a_length(service: IncidentService, length: int) -> None:
    with pytest.raises(InvalidRequest, match="Idempotency-Key"):
        service.report(report(), CITIZEN, "k" * length)
    for allowed in (1, 255):
        assert not service.report(report(), CITIZEN, "k" * allowed).replayed


def test_the_same_key_gives_the_same_incident_and_no_second(service: IncidentService) -> None:
    first = service.report(report(), CITIZEN, "key-1")
    again = service.report(report(), CITIZEN, "key-1")
    assert again.replayed
    assert again.possible_duplicates == first.possible_duplicates == []
    assert again.incident == first.incident
    with pytest.raises(KeyReused):
        service.report(report(title="Something else"), CITIZEN, "key-1")
    assert not service.report(report(), OTHER, "key-1").replayed  # their own key
    assert len(service.list(HERE, ANONYMOUS, 10).incidents) == 2


def test_near_and_recent_reports_are_hinted_at(service: IncidentService, clock: StandingClock) -> None:
    first = service.report(report(), CITIZEN).incident
    near = report(lat=49.26370, long=-123.0985)  # 45 m to the north
    far = report(lat=49.26380, long=-123.0985)  # 56 m
    assert [one.incident_id for one in service.report(near, OTHER).possible_duplicates] == [first.incident_id]
    assert first.incident_id not in {one.incident_id for one in service.report(far, OTHER).possible_duplicates}
    clock.time += timedelta(days=15)
    assert service.report(report(), OTHER).possible_duplicates == []


def test_a_citizen_suggests_what_an_officer_decides(service: IncidentService) -> None:
    critical = report(severity="critical")
    assert service.report(critical, CITIZEN).incident.severity is Severity.HIGH
    assert service.report(critical, STRANGE_OFFICER).incident.severity is Severity.HIGH
    assert service.report(critical, OFFICER).incident.severity is Severity.CRITICAL


def test_contact_data_are_for_the_reporter_and_the_staff(service: IncidentService, tmp_path: Path) -> None:
    mine = service.report(report(contact={"email": "canary@example.org"}), CITIZEN).incident
    for actor in (CITIZEN, OFFICER, ADMIN):
        assert service.contact(mine.incident_id, actor) == Contact(email="canary@example.org")
    for actor in (ANONYMOUS, OTHER, STRANGE_OFFICER, STEWARD):
        with pytest.raises(NotYours):
            service.contact(mine.incident_id, actor)
    assert all(b"canary" not in file.read_bytes() for file in tmp_path.glob("incidents.sqlite*"))


def test_an_anonymous_report_names_nobody(service: IncidentService) -> None:
    hidden = service.report(report(anonymous=True), CITIZEN).incident
    assert hidden.reported_by is None
    assert service.list(Listing(Pattern.REPORTED_BY, ("citizen-1",)), CITIZEN, 10).incidents == []
    with pytest.raises(NotYours):
        service.list(Listing(Pattern.REPORTED_BY, ("citizen-1",)), OTHER, 10)


def test_what_may_not_be_seen_is_not_found_and_not_listed(service: IncidentService) -> None:
    private = service.report(report(visibility="private"), CITIZEN).incident
    public = [service.report(report(), OTHER).incident for _ in range(5)]
    with pytest.raises(IncidentNotFound):
        service.get(private.incident_id, OTHER)
    assert service.get(private.incident_id, CITIZEN) == private
    seen, cursor = [], None
    while True:
        page = service.list(HERE, OTHER, 2, cursor)
        seen += page.incidents
        cursor = page.next
        if cursor is None:
            break
    assert {one.incident_id for one in seen} == {one.incident_id for one in public}
    assert len(service.list(HERE, OFFICER, 10).incidents) == 6


def test_history_shows_others_only_what_is_public(service: IncidentService) -> None:
    one = service.report(report(), CITIZEN).incident
    service.comment(one.incident_id, "crew is busy", OFFICER, public=False)
    service.comment(one.incident_id, "we come on Monday", OFFICER, public=True)
    service.transition(one.incident_id, Status.ACKNOWLEDGED, OFFICER, note="internal")
    service.comment(one.incident_id, "reach me at kim@example.org", CITIZEN, public=True)
    staff = service.history(one.incident_id, OFFICER)
    assert [entry.note for entry in staff] == [
        None, "crew is busy", "we come on Monday", "internal", "reach me at kim@example.org",
    ]  # fmt: skip
    shown = service.history(one.incident_id, OTHER)
    assert {entry.actor for entry in shown} == {None}
    assert [entry.note for entry in shown] == [None, "we come on Monday", None, "reach me at ▇▇▇"]


def test_who_is_asked_for_information_reads_the_question(service: IncidentService) -> None:
    one = service.report(report(), CITIZEN).incident
    service.transition(one.incident_id, Status.INFO_REQUESTED, OFFICER, note="Which side of the street?")
    assert service.history(one.incident_id, CITIZEN)[-1].note == "Which side of the street?"


def test_a_duplicate_brings_its_supporters(service: IncidentService) -> None:
    original = service.report(report(), CITIZEN).incident
    copy = service.report(report(), OTHER).incident
    service.support(copy.incident_id, STEWARD)
    with pytest.raises(AlreadyDone):
        service.support(copy.incident_id, STEWARD)
    closed = service.transition(
        copy.incident_id, Status.DUPLICATE, OFFICER, note="the same hole", duplicate_of=original.incident_id
    )
    assert (closed.resolution, closed.supporters) == (Resolution.DUPLICATE, 0)
    assert service.get(original.incident_id, CITIZEN).supporters == 2
    service.transition(copy.incident_id, Status.REOPENED, OTHER)
    assert service.get(original.incident_id, CITIZEN).supporters == 1
    service.transition(copy.incident_id, Status.DUPLICATE, OFFICER, note="it is", duplicate_of=original.incident_id)
    assert service.get(original.incident_id, CITIZEN).supporters == 2  # nobody twice


def test_others_say_once_after_each_closing_that_it_is_still_there(
    service: IncidentService, clock: StandingClock
) -> None:
    one = service.report(report(), CITIZEN).incident.incident_id
    service.support(one, OTHER)
    for _ in range(2):
        service.transition(one, Status.RESOLVED, OFFICER, note="filled", resolution=Resolution.FIXED)
        assert service.get(one, OTHER).still_there == 0
        service.support(one, OTHER)
        doubted = service.support(one, STEWARD)
        assert (doubted.still_there, doubted.supporters) == (2, 1)
        with pytest.raises(AlreadyDone):
            service.support(one, OTHER)
        clock.time += timedelta(minutes=1)
        assert service.transition(one, Status.REOPENED, CITIZEN).still_there == 0
    assert [entry.action for entry in service.history(one, OFFICER)].count("still_there") == 4


def test_an_edit_needs_the_version_it_was_made_on(service: IncidentService) -> None:
    one = service.report(report(), CITIZEN).incident
    after = service.edit(one.incident_id, {"title": "Two potholes"}, CITIZEN, 1)
    assert (after.title, after.version) == ("Two potholes", 2)
    with pytest.raises(VersionConflict):
        service.edit(one.incident_id, {"title": "Three"}, CITIZEN, 1)
    with pytest.raises(NotYours):
        service.edit(one.incident_id, {"severity": "high"}, CITIZEN, 2)
    with pytest.raises(InvalidRequest, match="hides"):
        service.edit(one.incident_id, {"visibility": "hidden"}, OFFICER, 2)
    assert service.edit(one.incident_id, {"visibility": "hidden"}, MANAGER, 2).visibility is Visibility.HIDDEN
    with pytest.raises(InvalidRequest, match="shows it again"):
        service.edit(one.incident_id, {"visibility": "public"}, OFFICER, 3)
    moved = service.edit(one.incident_id, {"lat": 49.28070000049, "long": -123.1166}, OFFICER, 3)
    assert (moved.region, moved.district, moved.lat) == ("central", "downtown", 49.2807)


def test_null_empties_a_field_or_is_refused_and_is_never_passed_over(service: IncidentService) -> None:
    one = service.report(report(address="453 West 12th Avenue", description="Deep"), CITIZEN).incident
    service.edit(one.incident_id, {"assigned_to": "Crew 4"}, OFFICER, 1)
    emptied = service.edit(one.incident_id, {"assigned_to": None, "description": None, "severity": "low"}, OFFICER, 2)
    assert (emptied.assigned_to, emptied.description, emptied.severity) == (None, "", Severity.LOW)
    unlocated = service.edit(one.incident_id, {"lat": None, "long": None}, OFFICER, 3)
    assert (unlocated.lat, unlocated.district, unlocated.address) == (None, UNLOCATED, "453 West 12th Avenue")
    for wrong, field in (
        ({"title": None}, "title"),
        ({"severity": None, "address": "453 West 12th Avenue"}, "severity"),
        ({"address": None}, "lat"),  # it has no other place now
    ):
        with pytest.raises(InvalidRequest) as refusal:
            service.edit(one.incident_id, wrong, ADMIN, 4)
        assert [fault.field for fault in refusal.value.faults] == [field]


@pytest.mark.parametrize("name", ["Crew\x07", "<b>Crew</b>", "   ", "x" * 101])
def test_who_deals_with_it_is_a_readable_line(service: IncidentService, name: str) -> None:
    one = service.report(report(), CITIZEN).incident
    with pytest.raises(InvalidRequest) as refusal:
        service.edit(one.incident_id, {"assigned_to": name}, OFFICER, 1)
    assert [fault.field for fault in refusal.value.faults] == ["assigned_to"]


def test_closing_many_needs_a_manager_and_answers_for_each(service: IncidentService) -> None:
    one, two = (service.report(report(), CITIZEN).incident.incident_id for _ in range(2))
    service.transition(two, Status.CANCELLED, CITIZEN)
    with pytest.raises(NotYours):
        service.close_in_bulk([one], Status.REJECTED, OFFICER, note="spam wave", resolution=Resolution.SPAM)
    results = service.close_in_bulk([one, two], Status.REJECTED, MANAGER, note="spam", resolution=Resolution.SPAM)
    assert getattr(results[one], "status", None) is Status.REJECTED
    assert "cannot become" in str(results[two])


@pytest.mark.parametrize("said", ["{0}", " {0} ", "{1}", "van 2026 {2}", "VAN2026{2}", "{3}"])
def test_an_incident_is_found_by_the_reference_however_it_is_written(service: IncidentService, said: str) -> None:
    made = service.report(report(), CITIZEN).incident
    ref = made.public_ref
    misheard = ref[:-6] + ref[-6:].replace("0", "o").replace("1", "l")
    found = service.find(said.format(ref, ref.lower(), ref[-6:], misheard), ANONYMOUS)
    assert (found, service.find(made.incident_id, ANONYMOUS)) == (made, made)


@pytest.mark.parametrize("said", ["VAN-2026-AAAAAA", "VAN-2026", "", "VAN-2026-7K3MQ9-1", "ref#VAN", "\u0660" * 4])
def test_no_incident_is_found_by_anything_else(service: IncidentService, said: str) -> None:
    service.report(report(), CITIZEN)
    with pytest.raises(IncidentNotFound):
        service.find(said, ANONYMOUS)


def test_a_reference_shows_nobody_more_than_an_identifier(service: IncidentService) -> None:
    made = service.report(report(visibility="private"), CITIZEN).incident
    assert service.find(made.public_ref, CITIZEN) == made
    with pytest.raises(IncidentNotFound):
        service.find(made.public_ref, OTHER)


def test_a_note_sent_again_under_its_key_is_one_note(service: IncidentService) -> None:
    made = service.report(report(), CITIZEN).incident
    for _ in range(2):
        after = service.comment(made.incident_id, "It has grown.", CITIZEN, public=True, idempotency_key="key-1")
        assert after.version == 2
    with pytest.raises(KeyReused):
        service.comment(made.incident_id, "Another note.", CITIZEN, public=True, idempotency_key="key-1")
    service.comment(made.incident_id, "It has grown.", CITIZEN, public=True, idempotency_key="key-2")
    notes = [one.note for one in service.history(made.incident_id, OFFICER) if one.action == "comment"]
    assert notes == ["It has grown."] * 2


def test_a_reporter_is_told_that_their_notes_are_public(service: IncidentService) -> None:
    made = service.report(report(), CITIZEN).incident
    for actor, why in ((CITIZEN, "a reporter's are public"), (OTHER, "for the reporter and the staff")):
        with pytest.raises(NotYours, match=why):
            service.comment(made.incident_id, "It has grown.", actor, public=False)
