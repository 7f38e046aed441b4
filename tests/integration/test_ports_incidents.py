"""The contract of the incident repository, and of what counts its incidents, held by every adapter."""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from city_platform.aws.incidents import DynamoDBIncidentRepository, IncidentTables, dynamodb_client
from city_platform.incidents.cursor import Cursors
from city_platform.incidents.model import Box, Incident, Media, Resolution, Severity, Status, Visibility
from city_platform.incidents.repository import (
    AlreadyDone,
    Counted,
    Heading,
    IncidentRepository,
    Listing,
    Mark,
    NotCountedYet,
    Pattern,
    Position,
    VersionConflict,
)
from city_platform.incidents.service import IncidentService
from city_platform.layers import open_incidents
from city_platform.layers.platform import Platform
from city_platform.local.incidents import SqliteIncidentRepository
from tests.incident_stack import table_definitions
from tests.incidents import NOW, change, incident, reference
from tests.reserved_words import refuse_reserved_words
from tests.town import StandingClock

EAST = Listing(Pattern.DISTRICT_STATUS, ("mount-pleasant", "reported"))


@pytest.fixture(params=["local", "aws"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: StandingClock) -> IncidentRepository:
    clock.time = NOW
    if request.param == "local":
        return SqliteIncidentRepository(tmp_path / "incidents.sqlite", clock)
    url = request.getfixturevalue("aws_environment")["AWS_ENDPOINT_URL"]
    project = f"test-{uuid4().hex}"
    tables = IncidentTables(f"{project}-dev")
    client = dynamodb_client("ca-central-1", url)
    refuse_reserved_words(client)
    for definition in table_definitions(project):  # of the template: whatever it lacks is missing here
        client.create_table(**definition)
    return DynamoDBIncidentRepository(tables, clock, lambda: client)


def following(before: Incident, **changes: object) -> Incident:
    return replace(before, version=before.version + 1, **changes)  # type: ignore[arg-type]  # any field


def test_an_incident_comes_back_as_it_was(store: IncidentRepository) -> None:
    full = incident(
        lat=49.2633007,
        long=-123.0985,
        occurred_at=NOW,
        expected_at=NOW,
        closed_at=NOW,
        resolution=Resolution.FIXED,
        severity=Severity.CRITICAL,
        description="two\nlines, an é and a 🚲",
        attributes={"depth_cm": 12, "width": 1.5, "items": ("bags", "other"), "lane": "kerb"},
        media=(Media("media/1.jpg", "image/jpeg", 1234, moderated=True),),
        duplicate_of="01J",
        supporters=3,
        ttl=NOW + timedelta(days=400),
        anonymise_after=NOW,
        assigned_to="crew 7",
        address="453 West 12th Avenue",
        postal_code="V5Y 1V4",
    )
    plain = incident(1, lat=None, long=None, reported_by=None)
    store.write([change(full)])
    store.write([change(plain)])
    assert store.get(full.incident_id) == full
    assert store.get(plain.incident_id) == plain
    assert store.get("01J000000000000000000000XX") is None


def test_what_is_near_is_recent_inside_the_box_and_newest_first(store: IncidentRepository) -> None:
    box = Box(49.2630, -123.0990, 49.2640, -123.0980)
    edge = incident(3, lat=49.2640, long=-123.0980)
    for one in (
        inside := incident(1, lat=49.2633, long=-123.0985),
        incident(-60, lat=49.2633, long=-123.0985),  # before
        incident(2, lat=49.2641, long=-123.0985),  # north of it
        incident(2, lat=49.2633, long=-123.0979),  # east of it
        incident(2, lat=None, long=None),
        incident(2, category="graffiti"),
        incident(2, district="downtown"),
        edge,
    ):
        store.write([change(one)])
    assert store.near("mount-pleasant", "road_damage", box, NOW, 100) == [edge, inside]
    assert store.near("mount-pleasant", "road_damage", box, NOW, 2) == [edge]
    moved = following(edge, lat=49.2650)
    store.write([change(moved, edge)])
    assert store.near("mount-pleasant", "road_damage", box, NOW, 100) == [inside]


def test_history_keeps_every_version_and_contact_lies_apart(store: IncidentRepository) -> None:
    first = incident()
    store.write([change(first, sealed_contact=b"\x00sealed")])
    second = following(first, status=Status.ACKNOWLEDGED)
    store.write([change(second, first)])
    assert [(one.version, one.from_status, one.to_status) for one in store.history(first.incident_id)] == [
        (1, None, Status.REPORTED),
        (2, Status.REPORTED, Status.ACKNOWLEDGED),
    ]
    assert store.sealed_contact(first.incident_id) == b"\x00sealed"
    assert store.sealed_contact("none") is None


def test_a_change_may_revise_history_and_drop_the_contact(store: IncidentRepository) -> None:
    first = incident()
    store.write([change(first, sealed_contact=b"sealed")])
    versions = [first]
    for _ in range(30):
        versions.append(following(versions[-1]))
        store.write([change(versions[-1], versions[-2])])
    last = versions[-1]
    revised = tuple(replace(one, actor=None) for one in store.history(first.incident_id)[:-1])
    with pytest.raises(VersionConflict):
        store.write([change(last, first, revised=revised, drops_contact=True)])
    assert store.sealed_contact(first.incident_id) == b"sealed"
    for _ in range(2):  # what is gone may be dropped again
        before, last = last, following(last, reported_by=None)
        store.write([change(last, before, revised=revised, drops_contact=True)])
    assert store.sealed_contact(first.incident_id) is None
    assert [(one.version, one.actor) for one in store.history(first.incident_id)] == [
        *((number, None) for number in range(1, 31)), (31, "citizen-1"), (32, None), (33, None),
    ]  # fmt: skip
    assert store.get(first.incident_id) == last


def test_what_is_to_be_anonymised_is_past_its_day_and_not_past_its_end(store: IncidentRepository) -> None:
    second = timedelta(seconds=1)
    due = [incident(number, anonymise_after=NOW - number * second, ttl=NOW + second) for number in range(3)]
    others = [
        incident(3, anonymise_after=NOW + timedelta(milliseconds=1), ttl=NOW + second),
        incident(4, anonymise_after=NOW - second, ttl=NOW),  # it goes as a whole
        incident(5, ttl=NOW + second),  # done
        incident(6),
    ]
    for one in (*due, *others):
        store.write([change(one)])
    found = store.to_anonymise(NOW, 10)
    assert sorted(found, key=lambda one: one.reported_at) == due
    assert len(store.to_anonymise(NOW, 2)) == 2
    store.write([change(following(due[0], anonymise_after=None, ttl=None), due[0])])
    assert {one.incident_id for one in store.to_anonymise(NOW, 10)} == {one.incident_id for one in due[1:]}


def test_marks_go_where_a_change_says_so_and_where_the_incident_is_forgotten(store: IncidentRepository) -> None:
    names = [f"support#{number}" for number in range(30)]
    version, before = incident(), None
    for name in names:
        store.write([change(version, before, marks=(Mark(name, "x"),))])
        before, version = version, following(version)
    dropped, kept = names[:28], names[28:]
    for _ in range(2):  # what is gone may be dropped again
        store.write([change(version, before, drops_marks=(*dropped, dropped[0]))])
        before, version = version, following(version)
    for name in kept:
        with pytest.raises(AlreadyDone):
            store.write([change(version, before, marks=(Mark(name, "x"),))])
    for _ in range(2):
        store.forget(version.incident_id, kept)
    other = incident(1)
    store.write([change(other)])
    for name in (dropped[0], *kept):
        before, other = other, following(other)
        store.write([change(other, before, marks=(Mark(name, "y"),))])


def test_a_mark_that_stays_leads_to_its_incident(store: IncidentRepository) -> None:
    made = incident()
    store.write([change(made, marks=(Mark("ref#A", "x"), Mark("key#A", "x", NOW + timedelta(days=1))))])
    assert [store.marked(key) for key in ("ref#A", "ref#B", "key#A")] == [made.incident_id, None, None]


def test_what_is_left_of_an_incident_is_forgotten_and_nothing_of_others(store: IncidentRepository) -> None:
    gone, kept = incident(), incident(1)
    for one in (gone, kept):
        store.write([change(one, sealed_contact=b"sealed")])
        for _ in range(27):
            before, one = one, following(one)  # noqa: PLW2901 -- the next version of it
            store.write([change(one, before)])
    for _ in range(2):  # what it hangs on is delivered at least once
        store.forget(gone.incident_id)
    assert (store.history(gone.incident_id), store.sealed_contact(gone.incident_id)) == ([], None)
    assert (len(store.history(kept.incident_id)), store.sealed_contact(kept.incident_id)) == (28, b"sealed")


def test_whoever_is_named_anywhere_is_found_and_their_marks_go_alone(store: IncidentRepository) -> None:
    own, others, neither = (incident(number, reported_by=by) for number, by in enumerate(("jo", "ann", None)))
    for one, contact in ((own, b"own"), (others, b"others"), (neither, None)):
        store.write([change(one, marks=(Mark(f"a#{one.incident_id}", "ann"),), sealed_contact=contact)])
    supported = change(following(others), others, marks=(Mark("support#1", "jo"), Mark("support#2", "jo")))
    store.write([replace(supported, entry=replace(supported.entry, actor="jo"))])
    assert store.naming("jo") == [own.incident_id, others.incident_id]
    assert store.naming("ann") == [others.incident_id]
    assert store.naming("nobody") == []
    assert sorted(store.contacts()) == [(own.incident_id, b"own"), (others.incident_id, b"others")]
    assert [store.drop_marks("jo") for _ in range(2)] == [2, 0]
    again = following(following(others))
    store.write([change(again, marks=(Mark("support#1", "jo"),))])
    with pytest.raises(AlreadyDone):
        store.write([change(following(again), marks=(Mark(f"a#{own.incident_id}", "ann"),))])


def test_what_was_closed_expires_by_the_attribute_of_its_table(store: IncidentRepository) -> None:
    one = incident(ttl=NOW + timedelta(days=730))
    store.write([change(one)])
    after = following(one, ttl=None)
    if isinstance(store, DynamoDBIncidentRepository):
        table = store._tables.incidents
        key = {"incident_id": {"S": one.incident_id}}
        name = store._tables.expiring()[table]
        item = store._client.get_item(TableName=table, Key=key)["Item"]
        assert item[name] == {"N": str(int((NOW + timedelta(days=730)).timestamp()))}
        store.write([change(after, one)])
        assert name not in store._client.get_item(TableName=table, Key=key)["Item"]
    else:
        store.write([change(after, one)])
    assert store.get(one.incident_id) == after


def test_a_change_of_an_old_version_is_refused_and_writes_nothing(store: IncidentRepository) -> None:
    first = incident()
    store.write([change(first)])
    second = following(first, title="Deeper pothole")
    store.write([change(second, first)])
    with pytest.raises(VersionConflict) as conflict:
        store.write([change(following(first, title="Another"), first, marks=(Mark("m", "f"),))])
    assert conflict.value.current == 2
    assert store.get(first.incident_id) == second
    assert len(store.history(first.incident_id)) == 2
    store.write([change(following(second), second, marks=(Mark("m", "f"),))])  # the mark was not set either


def test_a_new_incident_does_not_replace_one(store: IncidentRepository) -> None:
    one = incident()
    store.write([change(one)])
    with pytest.raises(VersionConflict):
        store.write([change(one)])
    with pytest.raises(VersionConflict) as conflict:
        store.write([change(following(incident(5)))])
    assert conflict.value.current == 0


def test_several_changes_happen_together_or_not_at_all(store: IncidentRepository) -> None:
    one, two = incident(), incident(1)
    store.write([change(one), change(two)])
    closed = following(one, status=Status.DUPLICATE, duplicate_of=two.incident_id)
    with pytest.raises(VersionConflict):
        store.write([change(closed, one), change(replace(two, version=7), two)])
    assert store.get(one.incident_id) == one
    store.write([change(closed, one), change(following(two, supporters=1), two)])
    assert store.get(two.incident_id) == following(two, supporters=1)


def test_a_mark_stands_until_it_expires(store: IncidentRepository, clock: StandingClock) -> None:
    one, two, three = incident(), incident(1), incident(2)
    mark = Mark("idempotency#k", "body", NOW + timedelta(days=1))
    store.write([change(one, marks=(mark,))])
    with pytest.raises(AlreadyDone) as done:
        store.write([change(two, marks=(replace(mark, fingerprint="other"),))])
    assert (done.value.mark, done.value.incident_id, done.value.fingerprint) == (
        "idempotency#k",
        one.incident_id,
        "body",
    )
    assert store.get(two.incident_id) is None
    clock.time = NOW + timedelta(days=1, seconds=1)
    store.write([change(three, marks=(mark,))])


def test_of_many_writers_of_one_version_exactly_one_wins(store: IncidentRepository) -> None:
    first = incident()
    store.write([change(first)])
    won: list[int] = []

    def attempt(number: int) -> None:
        try:
            store.write([change(following(first, supporters=number), first)])
            won.append(number)
        except VersionConflict:
            pass

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = won
    after = store.get(first.incident_id)
    assert after is not None
    assert (after.version, after.supporters) == (2, winner)


def test_of_many_reports_under_one_key_exactly_one_is_taken(store: IncidentRepository) -> None:
    taken: list[str] = []

    def attempt(number: int) -> None:
        one = incident(number)
        try:
            store.write([change(one, marks=(Mark("k", "body"),))])
            taken.append(one.incident_id)
        except AlreadyDone as done:
            taken.append(done.incident_id)

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 8
    assert len(set(taken)) == 1


def test_paging_is_stable_while_statuses_change(store: IncidentRepository) -> None:
    written = [incident(minute) for minute in (0, 0, 0, 1, 2, 3, 4, 5)]  # three in one millisecond
    for one in written:
        store.write([change(one)])
    expected = sorted(written, key=lambda one: (one.reported_at, one.incident_id), reverse=True)
    seen: list[Incident] = []
    after = None
    while batch := store.list(EAST, 2, after):
        assert store.headings(EAST, 2, after) == [Heading.of(one) for one in batch]
        seen += batch
        after = Position(batch[-1].reported_at, batch[-1].incident_id)
        if len(seen) == 2:
            gone = expected[5]
            store.write([change(following(gone, status=Status.ACKNOWLEDGED), gone)])
            store.write([change(incident(60))])  # a newer one: before the place where this reader is
    assert [one.incident_id for one in seen] == [one.incident_id for one in expected if one is not gone]


@pytest.fixture
def count(store: IncidentRepository, platform: Platform) -> Callable[[], Counted]:
    """The store's counts once they are up to date: where it does not count itself, after publishing."""
    if isinstance(store, SqliteIncidentRepository):
        return store.counts
    service = IncidentService(store, reference(), platform.keys, platform.clock, Cursors(b"s" * 32))
    published = open_incidents.PublishedCounts(platform.lake)
    with pytest.raises(NotCountedYet, match="publish them first"):
        published.counts()

    def counted() -> Counted:
        open_incidents.publish(platform.lake, service)
        return published.counts()

    return counted


def test_counts_are_those_of_the_public_incidents(
    store: IncidentRepository, count: Callable[[], Counted], clock: StandingClock
) -> None:
    known = [
        incident(-20),
        incident(-19),
        incident(-18, category="graffiti"),
        incident(-17, region="east", district="hastings-sunrise"),
        incident(-16, visibility=Visibility.HIDDEN),
        incident(-500 * 24 * 60, status=Status.RESOLVED, resolution=Resolution.FIXED, closed_at=NOW),  # another year
    ]
    for one in known:
        store.write([change(one)])

    def expected() -> list[tuple[str, str, str, str, int]]:
        public = [one for one in known if one.visibility is Visibility.PUBLIC]
        counts = Counter((one.region, one.district, one.status.value, one.category) for one in public)
        return sorted((*key, incidents) for key, incidents in counts.items())

    def counted() -> list[tuple[str, str, str, str, int]]:
        found = count()
        assert found.at == clock.now()
        return [(one.region, one.district, one.status, one.category, one.incidents) for one in found.counts]

    assert counted() == expected()
    clock.time = NOW + timedelta(minutes=1)
    for place, after in (
        (0, following(known[0], status=Status.ACKNOWLEDGED, updated_at=clock.now())),
        (2, following(known[2], visibility=Visibility.HIDDEN, updated_at=clock.now())),
        (4, following(known[4], visibility=Visibility.PUBLIC, updated_at=clock.now())),
    ):
        store.write([change(after, known[place])])
        known[place] = after
    assert counted() == expected()


STATUSES = st.sampled_from([Status.REPORTED, Status.ACKNOWLEDGED, Status.RESOLVED])
PLACES = st.sampled_from([("central", "mount-pleasant"), ("central", "fairview"), ("east", "hastings-sunrise")])


def lists_equal_a_plain_list(store: IncidentRepository) -> type[RuleBasedStateMachine]:
    """Any sequence of reports and changes: each of the five lists is what filtering a plain list gives."""

    class Model(RuleBasedStateMachine):
        @initialize()
        def start(self) -> None:
            self.known: dict[str, Incident] = {}
            self.reporter = f"reporter-{len(seen)}"
            seen.append(self.reporter)

        @rule(place=PLACES, category=st.sampled_from(["waste", "noise"]), minute=st.integers(0, 3))
        def report(self, place: tuple[str, str], category: str, minute: int) -> None:
            region, district = (f"{part}-{self.reporter}" for part in place)
            one = incident(minute, region=region, district=district, category=category, reported_by=self.reporter)
            store.write([change(one)])
            self.known[one.incident_id] = one

        @rule(status=STATUSES, pick=st.randoms(use_true_random=False))
        def move(self, status: Status, pick) -> None:  # type: ignore[no-untyped-def]  # hypothesis' random
            if self.known:
                before = self.known[pick.choice(sorted(self.known))]
                after = following(before, status=status)
                store.write([change(after, before)])
                self.known[after.incident_id] = after

        @invariant()
        def every_list_is_right(self) -> None:
            for pattern in Pattern:
                for values in {tuple(getattr(one, name) for name in pattern.fields) for one in self.known.values()}:
                    matching = [
                        one
                        for one in self.known.values()
                        if tuple(getattr(one, name) for name in pattern.fields) == values
                    ]
                    matching.sort(key=lambda one: (one.reported_at, one.incident_id), reverse=True)
                    listed = store.list(Listing(pattern, values), 50)
                    assert [one.incident_id for one in listed] == [one.incident_id for one in matching]

    seen: list[str] = []
    return Model


def test_the_five_lists_equal_a_plain_list(store: IncidentRepository) -> None:
    machine = lists_equal_a_plain_list(store).TestCase
    emulated = isinstance(store, DynamoDBIncidentRepository)  # each question is a call of a server
    machine.settings = settings(
        max_examples=3 if emulated else 15,
        stateful_step_count=12,
        suppress_health_check=list(HealthCheck),
    )
    machine("runTest").runTest()
