"""What becomes of incidents after they were closed: their dates, their reporters, their end."""

import re
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from city_platform.incidents.contact import CONTACT_KEY
from city_platform.incidents.cursor import Cursors
from city_platform.incidents.model import Contact, Incident, Resolution, Status
from city_platform.incidents.reference import BadReference, Retention, load_reference
from city_platform.incidents.repository import Listing, Pattern
from city_platform.incidents.retention import anonymise, dated, forget
from city_platform.incidents.roles import Actor, Role
from city_platform.incidents.service import IncidentNotFound, IncidentService
from city_platform.incidents.supporters import support_mark
from city_platform.local.incident_stream import SqliteIncidentStream
from city_platform.local.incidents import SqliteIncidentRepository
from city_platform.local.keys import LocalKeyService
from city_platform.local.store import LocalObjectStore
from tests.incidents import ADMIN, CITIZEN, NOW, OFFICER, OTHER, incident, reference, report
from tests.town import StandingClock

DAY = timedelta(days=1)
OWN = Listing(Pattern.REPORTED_BY, ("citizen-1",))


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock(NOW)


@pytest.fixture
def store(tmp_path: Path, clock: StandingClock) -> SqliteIncidentRepository:
    return SqliteIncidentRepository(tmp_path / "incidents.sqlite", clock)


@pytest.fixture
def service(tmp_path: Path, clock: StandingClock, store: SqliteIncidentRepository) -> IncidentService:
    keys = LocalKeyService(tmp_path / "keys.json")
    keys.ensure(CONTACT_KEY)
    return IncidentService(store, reference(), keys, clock, Cursors(b"s" * 32))


def supporters(store: SqliteIncidentRepository) -> list[str]:
    """The marks that name a person by a digest."""
    with sqlite3.connect(store.path) as connection:
        return [key for (key,) in connection.execute("SELECT key FROM mark WHERE key LIKE 's%'")]


@pytest.fixture
def close(service: IncidentService) -> Callable[..., Incident]:
    """Reports with contact data and closes, or closes what is given."""

    def closed(incident_id: str = "") -> Incident:
        reported = report(contact={"email": "canary@example.org"})
        incident_id = incident_id or service.report(reported, CITIZEN).incident.incident_id
        return service.transition(incident_id, Status.RESOLVED, OFFICER, note="mended", resolution=Resolution.FIXED)

    return closed


def test_closing_sets_both_dates_and_reopening_takes_them_back(
    service: IncidentService, store: SqliteIncidentRepository, close: Callable[..., Incident], clock: StandingClock
) -> None:
    clock.time = NOW + timedelta(milliseconds=250)
    one = close()
    assert (one.anonymise_after, one.ttl) == (clock.time + 90 * DAY, NOW + 730 * DAY)
    assert store.get(one.incident_id) == one
    clock.time += DAY
    for edited in (
        service.edit(one.incident_id, {"title": "A deep pothole"}, OFFICER, one.version),
        service.comment(one.incident_id, "thank you", CITIZEN, public=True),
        service.support(one.incident_id, OTHER),
    ):
        assert (edited.anonymise_after, edited.ttl) == (one.anonymise_after, one.ttl)
    again = service.transition(one.incident_id, Status.REOPENED, CITIZEN)
    assert (again.anonymise_after, again.ttl) == (None, None)
    assert store.get(one.incident_id) == again
    closed = close(one.incident_id)
    assert (closed.anonymise_after, closed.ttl) == (clock.time + 90 * DAY, NOW + 731 * DAY)


def test_no_mark_of_anybody_stays_whatever_they_supported_and_whenever(
    service: IncidentService, store: SqliteIncidentRepository, close: Callable[..., Incident], clock: StandingClock
) -> None:
    people = [Actor.of(f"person-{number}", ["citizen"]) for number in range(3)]
    other = service.report(report(), CITIZEN).incident.incident_id
    service.support(other, OTHER)
    one = service.report(report(), CITIZEN).incident.incident_id
    for person in people:
        service.support(one, person)
    for closing in range(2):
        if closing:
            service.transition(one, Status.REOPENED, OFFICER)
        clock.time += DAY
        close(one)
        for person in (*people, OFFICER):
            service.support(one, person)
    assert len(supporters(store)) == 1 + 3 + 2 * 4
    clock.time += 90 * DAY
    assert anonymise(store, clock.now()) == 1
    assert supporters(store) == [support_mark(other, "citizen-2").key]
    service.support(one, people[0])  # of those who come later, too, when the incident leaves
    assert len(supporters(store)) == 2
    forget(store, LocalObjectStore(store.path.parent / "lake"), one)
    assert len(supporters(store)) == 1


@pytest.mark.parametrize("status", list(Status))
def test_dates_are_those_of_the_city_and_of_the_closed_alone(status: Status) -> None:
    one = dated(incident(status=status, closed_at=NOW if status.closed else None), Retention(remove_days=400))
    assert one.anonymise_after == (NOW + 90 * DAY if status.closed else None)
    assert one.ttl == (NOW + 400 * DAY if status.closed else None)


@pytest.mark.parametrize(
    ("periods", "said"),
    [
        ({"anonymise_days": 30}, "greater than 30"),  # a reporter may open it again for so long
        ({"anonymise_days": 90, "remove_days": 90}, "`remove_days` has to be more than `anonymise_days`"),
        ({"remove_days": 40_000}, "less than or equal to 36500"),
        ({"keep_days": 1}, "not permitted"),
    ],
)
def test_periods_that_cannot_be_are_refused(periods: dict[str, int], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Retention.model_validate(periods)


def test_a_city_gives_its_own_periods(tmp_path: Path) -> None:
    shipped = resources.files("city_platform.incidents").joinpath("reference.yaml").read_text("utf-8")
    file = tmp_path / "town.yaml"

    def with_periods(line: str) -> Retention:
        file.write_text(re.sub(r"(?m)^retention: .*$", line, shipped))
        return load_reference(file).retention

    assert load_reference().retention == with_periods("") == Retention(anonymise_days=90, remove_days=730)
    assert with_periods("retention: {anonymise_days: 365, remove_days: 3650}").remove_days == 3650
    with pytest.raises(BadReference, match=r"retention\.anonymise_days: .* greater than 30; retention\.years: Extra"):
        with_periods("retention: {anonymise_days: 7, years: 2}")


def test_on_its_day_the_reporter_is_removed_and_history_says_so_without_them(
    service: IncidentService, store: SqliteIncidentRepository, close: Callable[..., Incident], clock: StandingClock
) -> None:
    one = close()
    service.comment(one.incident_id, "thank you", CITIZEN, public=True)
    before = service.support(one.incident_id, OTHER)
    assert len(supporters(store)) == 1
    clock.time = NOW + 90 * DAY - timedelta(milliseconds=1)
    assert anonymise(store, clock.now()) == 0
    assert service.contact(one.incident_id, CITIZEN) == Contact(email="canary@example.org")
    clock.time = NOW + 90 * DAY
    assert anonymise(store, clock.now()) == 1
    after = service.get(one.incident_id, ADMIN)
    assert (after.version, after.updated_at) == (before.version + 1, clock.time)
    assert (after.reported_by, after.anonymise_after, after.ttl) == (None, None, one.ttl)
    assert service.contact(one.incident_id, ADMIN) is None
    assert service.list(OWN, CITIZEN, 10).incidents == []
    history = service.history(one.incident_id, ADMIN)
    assert [(entry.action, entry.actor) for entry in history] == [
        ("reported", None), ("transition", "officer-1"), ("comment", None), ("still_there", None),
        ("anonymised", "system"),
    ]  # fmt: skip
    assert not supporters(store)
    assert (history[-1].role, history[-1].public, history[-1].from_status) == (Role.SYSTEM, False, Status.RESOLVED)
    assert "citizen" not in repr([after, [(entry.actor, entry.note) for entry in history]])
    assert anonymise(store, clock.now() + 100 * DAY) == 0
    assert service.transition(one.incident_id, Status.REOPENED, OFFICER).ttl is None  # staff still may


def test_a_turn_is_bounded_and_the_next_one_goes_on(
    store: SqliteIncidentRepository, close: Callable[..., Incident], clock: StandingClock
) -> None:
    closed = [close() for _ in range(5)]
    clock.time = NOW + 90 * DAY
    assert [anonymise(store, clock.now(), 2) for _ in range(4)] == [2, 2, 1, 0]
    SqliteIncidentStream(store).dealt_with("lake", f"{10**6}")
    SqliteIncidentStream(store).trim(["lake"])
    clock.time = NOW + 730 * DAY
    assert [store.expire(2) for _ in range(4)] == [2, 2, 1, 0]
    assert [store.get(one.incident_id) for one in closed] == [None] * 5


def test_the_store_drops_what_is_past_its_time_after_its_last_change_was_taken(
    service: IncidentService, store: SqliteIncidentRepository, close: Callable[..., Incident], clock: StandingClock
) -> None:
    one, other = close(), service.report(report(), CITIZEN).incident
    stream = SqliteIncidentStream(store)
    clock.time = NOW + 730 * DAY
    assert store.expire(10) == 0  # nobody has taken any change of it
    first = stream.read("lake", 1)[0]["dynamodb"]
    stream.dealt_with("lake", first["SequenceNumber"])
    stream.trim(["lake"])
    assert store.expire(10) == 0  # its closing waits
    stream.dealt_with("lake", stream.read("lake", 10)[-1]["dynamodb"]["SequenceNumber"])
    assert store.expire(10) == 0  # all was taken, and no export has followed yet
    stream.trim(["lake"])
    clock.time = NOW + 730 * DAY - timedelta(seconds=1)
    assert store.expire(10) == 0
    clock.time = NOW + 730 * DAY
    assert (store.expire(10), store.expire(10)) == (1, 0)
    with pytest.raises(IncidentNotFound):
        service.get(one.incident_id, ADMIN)
    assert [count.incidents for count in store.counts().counts] == [1]
    (told,) = stream.read("lake", 10)
    assert (told["eventName"], told["userIdentity"]["principalId"]) == ("REMOVE", "dynamodb.amazonaws.com")
    assert told["dynamodb"]["OldImage"]["version"] == {"N": str(one.version)}
    assert service.get(other.incident_id, CITIZEN) == other


@settings(max_examples=6, deadline=None)
@given(
    turns=st.lists(st.integers(0, 89), max_size=4),
    opened=st.integers(0, 89),
    closed_again=st.one_of(st.none(), st.integers(0, 1_000)),
)
def test_reopening_before_the_day_keeps_everything(turns: list[int], opened: int, closed_again: int | None) -> None:
    """However often retention looks, and however long it stays open; the next closing counts anew."""
    with TemporaryDirectory() as folder:
        clock, keys = StandingClock(NOW), LocalKeyService(Path(folder) / "keys.json")
        keys.ensure(CONTACT_KEY)
        store = SqliteIncidentRepository(Path(folder) / "incidents.sqlite", clock)
        service = IncidentService(store, reference(), keys, clock, Cursors(b"s" * 32))
        one = service.report(report(contact={"phone": "604 555 0142"}), CITIZEN).incident.incident_id
        closing = {"note": "mended", "resolution": Resolution.FIXED}

        def turn(days: int) -> tuple[int, int]:
            clock.time = NOW + days * DAY
            store.forget_changes(10**6)
            return anonymise(store, clock.now()), store.expire(10)

        service.transition(one, Status.RESOLVED, OFFICER, **closing)
        assert {turn(days) for days in sorted(days for days in turns if days <= opened)} <= {(0, 0)}
        clock.time = NOW + opened * DAY
        service.transition(one, Status.REOPENED, OFFICER)
        last = opened + 5_000
        if closed_again is not None:
            clock.time += closed_again * DAY
            service.transition(one, Status.RESOLVED, OFFICER, **closing)
            last = opened + closed_again + 89
        assert turn(last) == (0, 0)
        kept = service.get(one, CITIZEN)
        assert kept.reported_by == "citizen-1"
        assert service.contact(one, CITIZEN) == Contact(phone="604 555 0142")
        assert service.history(one, OFFICER)[0].actor == "citizen-1"
        if closed_again is not None:
            assert [turn(last + days) for days in (1, 640, 641)] == [(1, 0), (0, 0), (0, 1)]
