"""What traffic and incidents say of each other: which incidents explain which zones, and what becomes an incident."""

import random
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import cos, hypot, radians
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from city_platform.crossing import episodes
from city_platform.crossing.desk import ACTOR
from city_platform.crossing.episodes import CITY, Episode, Seen, is_over, judge
from city_platform.crossing.explained import MOST, TAKEN_UP, explained, holding, zones_within
from city_platform.crossing.rules import BadRules, Opening, Rules, load_rules
from city_platform.deployment.crossing import RULES as CHOICE
from city_platform.deployment.crossing import open_rules
from city_platform.errors import TransientError
from city_platform.incidents.model import Channel, Incident, Severity, Status, Visibility
from city_platform.incidents.repository import Listing, Pattern
from city_platform.traffic import maintenance
from city_platform.traffic.events import alert_id
from city_platform.traffic.health import City
from tests.crossing import ROADS, RULES, TOWN, Office, end_of, levels, write_minute
from tests.incidents import ADMIN, NOW, PLACE, incident, reference
from tests.traffic import Crash, Faults, MemoryState
from tests.traffic_minutes import MINUTE_MS, FaultyState

ZONE = TOWN.zones[7]
MINE = Listing(Pattern.REPORTED_BY, (str(ACTOR.subject),))
CALM = City(0)


def disruption(**changes: Any) -> Incident:
    """An incident that explains traffic from NOW on, for a day."""
    given = {
        "category": "traffic_disruption",
        "status": Status.IN_PROGRESS,
        "expected_at": NOW + timedelta(days=1),
    }
    return incident(**{**given, **changes})


# Incidents explain traffic.


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("channel", [Channel.WEB, Channel.OFFICER])
def test_what_staff_has_taken_up_or_reported_explains_traffic(status: Status, channel: Channel) -> None:
    known = holding(disruption(status=status, channel=channel), NOW)
    assert (known is not None) == (status in TAKEN_UP or (channel is Channel.OFFICER and not status.closed))


def test_an_incident_explains_from_its_start_to_its_end_and_no_longer_than_it_should_take() -> None:
    said = {"starts": (NOW + timedelta(hours=1)).isoformat(), "ends": (NOW + timedelta(hours=3)).isoformat()}
    known = holding(disruption(attributes=said), NOW)
    assert known
    assert (known.from_ms, known.until_ms) == tuple(
        round((NOW + timedelta(hours=hours)).timestamp() * 1000) for hours in (1, 3)
    )
    assert holding(disruption(attributes=said), NOW + timedelta(hours=3)) is None
    happened = holding(disruption(occurred_at=NOW - timedelta(hours=2)), NOW)
    assert happened
    assert happened.from_ms == round((NOW - timedelta(hours=2)).timestamp() * 1000)
    assert holding(disruption(), NOW + timedelta(days=1)) is None  # it is late: alarms are heard again
    assert holding(disruption(expected_at=None), NOW) is None
    backwards = {"starts": said["ends"], "ends": said["starts"]}
    assert holding(disruption(attributes=backwards), NOW) is None
    vague = holding(disruption(attributes={"ends": "soon"}), NOW)
    assert vague
    assert vague.until_ms == known.until_ms + round(timedelta(hours=21).total_seconds() * 1000)


@given(st.floats(49.19, 49.32), st.floats(-123.27, -123.02), st.integers(0, 5000))
def test_zones_are_those_whose_cell_is_within_reach(lat: float, long: float, metres: int) -> None:
    def distance(place: int) -> float:
        west, south = float(ROADS.west[place]), float(ROADS.south[place])
        nearest = min(max(long, west), west + ROADS.width), min(max(lat, south), south + ROADS.height)
        return 111_320 * hypot(nearest[1] - lat, (nearest[0] - long) * cos(radians(lat)))

    found = set(zones_within(ROADS, lat, long, metres))
    for place, zone in enumerate(TOWN.zones):
        away = distance(place)
        if abs(away - metres) > 1e-3:
            assert (zone in found) == (away < metres)


def test_zones_name_every_incident_near_them_and_only_those_of_the_tables_categories() -> None:
    near, private = disruption(minutes=1), disruption(minutes=2, visibility=Visibility.PRIVATE)
    others = [disruption(category="graffiti"), disruption(lat=None, long=None), disruption(lat=49.3199)]
    found, left_out = explained([private, near, *others], {"traffic_disruption": 100}, ROADS, NOW)
    assert left_out == []
    zones = zones_within(ROADS, PLACE["lat"], PLACE["long"], 100)
    assert zones
    for zone in zones:
        assert [(one.incident_id, one.public) for one in found[zone]] == [
            (private.incident_id, False), (near.incident_id, True),
        ]  # fmt: skip


def test_more_incidents_than_the_record_has_room_for_are_named_and_the_newest_count() -> None:
    many = [disruption(minutes=minute) for minute in range(100)]
    found, left_out = explained(many, {"traffic_disruption": 5000}, ROADS, NOW)
    each = len(found)
    assert each * len(many) > MOST
    assert sum(map(len, found.values())) == MOST // each * each
    assert left_out == [one.public_ref for one in many[: len(many) - MOST // each]][::-1]


# Traffic becomes incidents.


def seen(minute: int, severe: Mapping[str, int], known: Sequence[str] = (), city: City = CALM, **more: Any) -> Seen:
    return Seen(end_of(minute), levels(severe, **more), {}, city, lambda zone: zone in known)


def report(rule: Opening, episode: Episode) -> dict[str, Any]:
    return {"rule": rule.name, "zone": episode.zone}


def test_what_lasts_becomes_an_episode_under_the_id_of_its_event() -> None:
    (rule, *_) = RULES.opens
    assert judge({}, seen(rule.minutes - 1, {ZONE: 0}), RULES, report) == {}
    ((key, one),) = judge({}, seen(rule.minutes, {ZONE: 0}), RULES, report).items()
    assert key == f"congestion#{ZONE}"
    assert one.alert_id == alert_id(ZONE, "severe", end_of(0) - MINUTE_MS)
    assert judge({}, seen(rule.minutes, {ZONE: 0}, known=[ZONE]), RULES, report) == {}
    assert judge({}, seen(rule.minutes, {ZONE: 0}, unknown=[ZONE]), RULES, report) == {}
    assert judge({}, seen(rule.minutes, {ZONE: 0}), RULES.without_openings(), report) == {}
    elsewhere = RULES.model_copy(update={"opens": (rule.model_copy(update={"zones": ("z-1*",)}),)})
    assert judge({}, seen(rule.minutes, {ZONE: 0}), elsewhere, report) == {}


@given(st.lists(st.sampled_from(["severe", "normal", "unknown"]), max_size=120))
def test_an_episode_ends_when_it_has_not_been_so_for_as_long_as_the_table_says(history: list[str]) -> None:
    """Against the plain count of minutes."""
    held: Mapping[str, Episode] = {}
    since, opened, better, state = 0, 0, 0, "normal"
    open_now = False
    for minute, said in enumerate(history):
        if said != "unknown":
            since = since if said == state else minute
            state = said
        severe = {ZONE: since} if state == "severe" else {}
        unknown = [ZONE] if said == "unknown" else []
        held = judge(held, seen(minute, severe, unknown=unknown), RULES, report)
        if open_now:
            better = 0 if state == "severe" else better + 1 if better else 1 if said == "normal" else 0
            open_now = better - 1 < RULES.over_minutes
        elif state == "severe" and said != "unknown" and minute - since >= RULES.opens[0].minutes:
            open_now, better, opened = True, 0, opened + 1
        held = {key: one for key, one in held.items() if not is_over(one, end_of(minute), RULES)}
        assert len(held) == open_now


@given(st.integers(1, 30))
def test_however_many_zones_stand_at_once_there_are_few_incidents(zones: int) -> None:
    found = judge({}, seen(60, dict.fromkeys(TOWN.zones[:zones], 0)), RULES, report)
    assert len(found) == (zones if zones <= RULES.zones_at_once else 1)
    if zones > RULES.zones_at_once:
        assert list(found) == [f"congestion#{CITY}"]


def test_when_one_zone_stands_after_the_other_the_city_gets_one_incident_and_no_further_zone_does() -> None:
    held: Mapping[str, Episode] = {}
    for minute in range(20, 45):
        standing = {zone: at for at, zone in enumerate(TOWN.zones) if at + 20 <= minute}
        held = judge(held, seen(minute, standing), RULES, report)
    assert set(held) == {f"congestion#{zone}" for zone in (*TOWN.zones[: RULES.zones_at_once], CITY)}


def test_readings_that_do_not_come_are_one_incident_and_no_silence_of_zones() -> None:
    city = City(end_of(30), degraded=True, since_ms=end_of(0))
    assert list(judge({}, seen(30, {}, city=city), RULES, report)) == [f"readings#{CITY}"]


# The desk.


def incidents_of(office: Office) -> Sequence[Incident]:
    """What sensors have reported, newest first."""
    return office.service.list(MINE, ACTOR, 100).incidents


def test_a_jam_is_reported_once_and_withdrawn_when_it_is_over(tmp_path: Path) -> None:
    office = Office(tmp_path, MemoryState())
    write_minute(office.state, 25, {ZONE: 3})
    office.at(25)
    assert (office.desk.look().opened, office.desk.look().opened) == (1, 0)
    (one,) = incidents_of(office)
    assert (one.status, one.severity, one.channel, one.category) == (
        Status.REPORTED, Severity.HIGH, Channel.SENSOR, "traffic_disruption",
    )  # fmt: skip
    assert ZONE in one.title
    assert one.occurred_at == datetime.fromtimestamp(end_of(3) / 1000, UTC)
    assert one.lat is not None
    assert one.long is not None
    assert zones_within(ROADS, one.lat, one.long, 0) == [ZONE]
    for minute in (30, 44):
        write_minute(office.state, minute)
        office.at(minute)
        assert office.desk.look().withdrawn == 0
    write_minute(office.state, 45)
    office.at(45)
    assert office.desk.look().withdrawn == 1
    (one,) = incidents_of(office)
    assert one.status is Status.CANCELLED
    assert "moves again" in str(office.service.history(one.incident_id, ADMIN)[-1].note)
    assert episodes.read(office.state)[1].episodes == {}


def test_what_staff_has_taken_up_is_theirs_and_gets_a_note(tmp_path: Path) -> None:
    office = Office(tmp_path, MemoryState())
    write_minute(office.state, 25, {ZONE: 3})
    office.at(25)
    office.desk.look()
    (one,) = incidents_of(office)
    office.service.transition(one.incident_id, Status.ACKNOWLEDGED, ADMIN)
    for minute in (30, 45, 46):
        write_minute(office.state, minute)
        office.at(minute)
        office.store.coming = Faults(["crash after"] if minute == 45 else [])
        try:
            office.desk.look()
        except Crash:
            assert minute == 45  # the note was written, and nobody knows of it
    (one,) = incidents_of(office)
    assert one.status is Status.ACKNOWLEDGED
    assert episodes.read(office.state)[1].episodes == {}
    notes = [entry.note for entry in office.service.history(one.incident_id, ADMIN) if entry.action == "comment"]
    assert len(notes) == 1
    assert maintenance.read(office.state).known(ZONE, end_of(46))  # and from then on it explains the zone


def test_what_staff_has_closed_stays_closed_though_it_is_not_over(tmp_path: Path) -> None:
    office = Office(tmp_path, MemoryState())
    write_minute(office.state, 25, {ZONE: 3})
    office.at(25)
    office.desk.look()
    (one,) = incidents_of(office)
    office.service.transition(one.incident_id, Status.CANCELLED, ADMIN)
    for minute in (40, 80, 90, 110):
        write_minute(office.state, minute, {ZONE: 3} if minute < 90 else {})
        office.at(minute)
        office.desk.look()
    assert [(each.incident_id, each.status) for each in incidents_of(office)] == [(one.incident_id, Status.CANCELLED)]
    write_minute(office.state, 180, {ZONE: 150})
    office.at(180)
    assert office.desk.look().opened == 1  # another jam


def test_an_officers_incident_explains_zones_and_keeps_their_jams_from_being_reported(tmp_path: Path) -> None:
    office = Office(tmp_path, MemoryState())
    office.at(10)
    place = TOWN.zone_index[ZONE]
    at = {"lat": float(ROADS.south[place]) + 0.001, "long": float(ROADS.west[place]) + 0.001}
    closed = {"title": "Road closed", "category": "traffic_disruption", "channel": "officer", **at}
    made = office.service.report(closed, ADMIN).incident
    write_minute(office.state, 25, {ZONE: 3})
    office.at(25)
    looked = office.desk.look()
    assert looked.explained >= 1
    assert looked.opened == 0
    (known,) = maintenance.read(office.state).known(ZONE, end_of(25))
    assert known.public_ref == made.public_ref
    office.service.transition(made.incident_id, Status.REJECTED, ADMIN, note="Open again", resolution="fixed")  # type: ignore[arg-type]
    looked = office.desk.look()
    assert (looked.explained, looked.opened) == (0, 1)
    assert maintenance.read(office.state).zones == {}


def test_what_nobody_has_judged_lately_becomes_no_incident(tmp_path: Path) -> None:
    office = Office(tmp_path, MemoryState())
    office.at(25)
    assert office.desk.look().opened == 0  # no watcher has been there
    write_minute(office.state, 25, {ZONE: 3})
    office.at(35)
    assert office.desk.look().opened == 0


FAULTS = (None, None, None, "crash before", "crash after")


@settings(max_examples=10)
@given(
    st.lists(st.sampled_from((*FAULTS, "lost", "unheard", "rival")), max_size=30),
    st.lists(st.sampled_from(FAULTS), max_size=20),
    st.integers(0, 3),
)
def test_however_looks_die_and_meet_each_episode_is_one_incident(
    faults: list[str | None], writes: list[str | None], seed: int
) -> None:
    draw = random.Random(seed)  # noqa: S311 reproducible, not secret
    jams = {zone: (draw.randint(0, 9), draw.randint(40, 60)) for zone in TOWN.zones[:3]}
    with tempfile.TemporaryDirectory() as folder:
        base = MemoryState()
        state = FaultyState().over(base)
        office, rival = Office(Path(folder), state), Office(Path(folder), base)
        state.rival = rival.desk.look
        for minute in range(24, 96, 8):
            severe = {zone: begin for zone, (begin, end) in jams.items() if begin <= minute < end}
            write_minute(base, minute, severe)
            for each in (office, rival):
                each.at(minute)
            for _ in range(3):
                state.coming = Faults([faults.pop() for _ in range(2) if faults])
                office.store.coming = Faults([writes.pop() for _ in range(2) if writes])
                try:
                    office.desk.look()
                except (Crash, TransientError):
                    continue
                break
            else:
                rival.desk.look()
        office.store.coming = state.coming = Faults([])
        found = incidents_of(office)
        assert sorted(one.title.rpartition(" ")[2] for one in found) == sorted(jams)
        assert {one.status for one in found} == {Status.CANCELLED}
        assert episodes.read(base)[1].episodes == {}


# The table.


def test_a_table_with_mistakes_is_refused_with_all_of_them(tmp_path: Path) -> None:
    with pytest.raises(BadRules, match=r"over_minutes.*zones_at_once"):
        load_rules(reference(), "{version: 1, over_minutes: 0, zones_at_once: 0}")
    with pytest.raises(BadRules, match="no YAML"):
        load_rules(reference(), "{")
    table = """
version: 1
explains: {nonsense: 5}
opens: [{name: a, what: silence, minutes: 5, category: street_light}, {name: b, what: silence, minutes: 5, category: x}]
"""
    with pytest.raises(BadRules, match=r"'nonsense'.*'x'.*'street_light' asks for 'fault'"):
        load_rules(reference(), table)
    with pytest.raises(BadRules, match="neither off nor on"):
        open_rules(reference(), {CHOICE: str(tmp_path / "absent.yaml")})
    (tmp_path / "rules.yaml").write_text("version: 1")
    assert open_rules(reference(), {CHOICE: str(tmp_path / "rules.yaml")}) == Rules(version=1)
    assert open_rules(reference(), {}) == RULES.without_openings()
    assert open_rules(reference(), {CHOICE: "on"}) == RULES
