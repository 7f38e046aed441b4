"""Who is told what, when and in which words; once, whoever dies; and what a table of routes may not say."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from city_platform.errors import TransientError
from city_platform.local.claims import SqliteClaims
from city_platform.ports import BusEvent, NotifierUnavailable
from city_platform.traffic.congestion import LEVELS, Level
from city_platform.traffic.events import (
    CongestionLevelChanged,
    Direction,
    KnownIncident,
    Links,
    PlatformIngestDegraded,
    SensorHealthChanged,
    Told,
    Trace,
    ZoneCoverageLost,
    alert_id,
    bus_event,
    outbox_event,
)
from city_platform.traffic.health import Health
from city_platform.traffic.routes import BadRoutes, Channel, Routes, Severity, load_routes, packaged, severity
from city_platform.traffic.routing import Delivery, Router
from tests.town import StandingClock
from tests.traffic import Crash, Faults

VANCOUVER = ZoneInfo("America/Vancouver")
ROUTES = load_routes()
# The rules of 2025 are history: no later table of time zones changes them.
NOON = datetime(2025, 6, 2, 12, 0, tzinfo=VANCOUVER)


def congestion(
    to: Level = Level.SEVERE, zone: str = "z-031", at: datetime = NOON, before: Level = Level.NORMAL
) -> CongestionLevelChanged:
    start = at.astimezone(UTC) - timedelta(minutes=1)
    up = LEVELS.index(to) > LEVELS.index(before)
    return CongestionLevelChanged(
        schema=1, alert_id=alert_id(zone, to, int(start.timestamp() * 1000)), direction="up" if up else "down",
        window_start=start, window_end=start + timedelta(minutes=1), detected_at=start + timedelta(seconds=75),
        links=Links(f"https://traffic.example/traffic/zones/{zone}"), zone_id=zone, from_=before, to=to, index=72.4,
        tti=3.623, los="F", vehicles=412, coverage=0.968, trace=Trace(["shardId-000000000001"], 88123),
    )  # fmt: skip


def others(direction: Direction) -> list[Told]:
    start = NOON.astimezone(UTC) - timedelta(minutes=1)
    common = {
        "schema": 1, "alert_id": "0" * 16, "direction": direction, "window_start": start,
        "window_end": start + timedelta(minutes=1), "detected_at": start + timedelta(seconds=75),
    }  # fmt: skip
    zone, city = Links("https://traffic.example/traffic/zones/z-007"), Links("https://traffic.example/traffic")
    lasted = None if direction == "up" else 4_980
    healths = (Health.OK, Health.SILENT) if direction == "up" else (Health.CLOCK_DRIFT, Health.OK)
    return [
        SensorHealthChanged(
            **common, links=zone, zone_id="z-007", sensor_id="s-00712", from_=healths[0], to=healths[1],
            last_heard=start - timedelta(seconds=30), duration_s=lasted and 240,
        ),
        ZoneCoverageLost(**common, links=zone, zone_id="z-007", silent=61, active=97, duration_s=lasted),
        PlatformIngestDegraded(**common, links=city, silent=18_211, active=49_020, late_shards=[], duration_s=lasted),
    ]  # type: ignore[arg-type]  # the common ones have the types of Detail  # fmt: skip


GOLDEN = {
    "congestion up": (
        "z-031: traffic is severe, it was normal",
        (
            "Congestion index 72.4 of 100; travel takes 3.6 times as long as on an empty road; level of service F.\n"
            "Measured from 2025-06-02 11:59 PDT to 2025-06-02 12:00 PDT: 412 vehicles, 97% of the sensors heard.\n"
            "https://traffic.example/traffic/zones/z-031"
        ),
        "z-031: traffic severe, index 72.4, at 2025-06-02 12:00 PDT. https://traffic.example/traffic/zones/z-031",
    ),
    "sensor up": (
        "s-00712 in z-007 is silent, it was ok",
        (
            "Last heard at 2025-06-02 11:58 PDT; noticed for 2025-06-02 11:59 PDT to 2025-06-02 12:00 PDT.\n"
            "https://traffic.example/traffic/zones/z-007"
        ),
        "s-00712 in z-007 is silent, last heard 2025-06-02 11:58 PDT. https://traffic.example/traffic/zones/z-007",
    ),
    "sensor down": (
        "s-00712 in z-007 is ok again after 4 min",
        (
            "It was clock drift. Noticed for 2025-06-02 11:59 PDT to 2025-06-02 12:00 PDT.\n"
            "https://traffic.example/traffic/zones/z-007"
        ),
        "s-00712 in z-007 is ok again after 4 min. https://traffic.example/traffic/zones/z-007",
    ),
    "city down": (
        "Readings of the city's sensors come in again after 1 h 23 min",
        "18211 of 49020 sensors are silent at 2025-06-02 12:00 PDT.\nhttps://traffic.example/traffic",
        "City: traffic readings are back after 1 h 23 min. https://traffic.example/traffic",
    ),
}


def test_texts_say_what_happened_in_the_citys_clock() -> None:
    up, down = others("up"), others("down")
    cases = {"congestion up": congestion(), "sensor up": up[0], "sensor down": down[0], "city down": down[2]}
    for name, event in cases.items():
        text = ROUTES.text(event)
        assert (text.subject, text.body, text.short) == GOLDEN[name], name
    for event in (congestion(), congestion(Level.SLOW, before=Level.SEVERE), *up, *down):
        text = ROUTES.text(event)
        assert len(text.short) <= 160
        assert text.short.isascii()
        assert not any("{" in words for _, words in text)


def test_a_channel_can_be_left_out_with_the_routes_that_have_no_other() -> None:
    left = ROUTES.without(Channel.SLACK)
    assert [one.name for one in left.routes] == ["traffic desk", "on call"]
    assert left.channels == [Channel.EMAIL, Channel.SMS]
    assert ROUTES.without(Channel.SMS).quiet_hours == ()
    assert left.without(Channel.EMAIL).without(Channel.SMS).channels == []


def test_shards_that_are_late_are_named_where_there_are_any() -> None:
    degraded = others("up")[2]
    assert "read late: none." in ROUTES.text(degraded).body
    late = msgspec.structs.replace(degraded, late_shards=["shardId-1", "shardId-3"])
    assert "read late: shardId-1, shardId-3." in ROUTES.text(late).body


def test_an_event_matters_as_much_as_what_it_begins_or_ends() -> None:
    said = {level: severity(congestion(level)) for level in LEVELS[1:]}
    assert list(said.values()) == list(Severity)
    assert severity(congestion(Level.NORMAL, before=Level.SEVERE)) is Severity.CRITICAL
    for direction in ("up", "down"):
        assert [severity(one) for one in others(direction)] == list(Severity)


@pytest.mark.parametrize(
    ("at", "hours", "holds"),
    [
        ("2025-06-02T05:00-07:00", "05:00-22:00", True),
        ("2025-06-02T04:59-07:00", "05:00-22:00", False),
        ("2025-06-02T22:00-07:00", "05:00-22:00", False),
        ("2025-06-02T23:59-07:00", "00:00-24:00", True),
        ("2025-06-02T23:00-07:00", "22:00-06:00", True),
        ("2025-06-03T05:59-07:00", "22:00-06:00", True),
        ("2025-06-03T06:00-07:00", "22:00-06:00", False),
        # Clocks go forward at 2:00 on 9 March 2025: 01:59 PST is 09:59 UTC, 03:00 PDT is 10:00 UTC.
        ("2025-03-09T09:59+00:00", "02:00-03:00", False),
        ("2025-03-09T10:00+00:00", "02:00-03:00", False),
        ("2025-03-09T09:59+00:00", "22:00-02:30", True),
        ("2025-03-09T10:00+00:00", "22:00-02:30", False),
        # And back at 2:00 on 2 November: 01:30 is there twice, at 08:30 and 09:30 UTC.
        ("2025-11-02T08:30+00:00", "01:00-02:00", True),
        ("2025-11-02T09:30+00:00", "01:00-02:00", True),
        ("2025-11-02T10:00+00:00", "01:00-02:00", False),
    ],
)
def test_hours_are_the_citys_also_where_clocks_change(at: str, hours: str, holds: bool) -> None:
    table = changed(lambda table: table["routes"][0].update(hours=hours, severity="info", channels=["email"]))
    table = table.model_copy(update={"routes": table.routes[:1]})
    assert table.goes_to(Channel.EMAIL, congestion(), datetime.fromisoformat(at)) is holds


def test_hours_over_midnight_belong_to_the_day_they_begin_on() -> None:
    table = changed(lambda table: table["routes"][0].update(hours="22:00-06:00", days=["fri"], channels=["email"]))
    table = table.model_copy(update={"routes": table.routes[:1]})
    friday = datetime(2025, 6, 6, 23, 0, tzinfo=VANCOUVER)
    for hours, holds in ((0, True), (6, True), (8, False), (24, False), (-24, False), (-18, False)):
        assert table.goes_to(Channel.EMAIL, congestion(), friday + timedelta(hours=hours)) is holds


def test_zones_are_told_by_their_names_and_the_city_is_one() -> None:
    table = changed(lambda table: table["routes"].__setitem__(slice(None), [
        {"name": "downtown", "zones": ["z-00?", "z-031"], "channels": ["email"]}]))  # fmt: skip
    told = {zone: table.goes_to(Channel.EMAIL, congestion(zone=zone), NOON) for zone in ("z-007", "z-031", "z-032")}
    assert told == {"z-007": True, "z-031": True, "z-032": False}
    assert not table.goes_to(Channel.EMAIL, others("up")[2], NOON)
    assert table.channels == [Channel.EMAIL]


@pytest.mark.parametrize(("hour", "to", "sent"), [
    (12, Level.SEVERE, ["email", "slack", "sms"]), (12, Level.CONGESTED, ["email", "slack"]), (12, Level.SLOW, []),
    (23, Level.SEVERE, ["email", "slack", "sms"]), (23, Level.CONGESTED, ["email"]),
])  # fmt: skip
def test_the_packaged_routes_tell_more_people_the_worse_it_is(
    tmp_path: Path, hour: int, to: Level, sent: list[str]
) -> None:
    at = NOON.replace(hour=hour)
    desk = Desk(tmp_path, at)
    assert [channel.value for channel in Channel if desk.tell(congestion(to, at=at), channel) is Delivery.SENT] == sent


def changed(change: Callable[[dict], object]) -> Routes:  # type: ignore[type-arg]  # YAML
    document = yaml.safe_load(packaged())
    change(document)
    return load_routes(yaml.safe_dump(document))


@dataclass
class Recorded:
    """A channel that notes what it sent; `coming` says what goes wrong."""

    sent: list[tuple[str, str, str | None]] = field(default_factory=list)
    coming: Faults = field(default_factory=lambda: Faults([]))

    def notify(self, subject: str, body: str, *, once: str | None = None) -> None:
        fault = self.coming.next()
        if fault == "crash before":
            raise Crash
        if fault == "busy":
            raise NotifierUnavailable("busy")
        if once not in [one for _, _, one in self.sent]:
            self.sent.append((subject, body, once))
        if fault == "crash after":
            raise Crash


class Desk:
    """A router with claims in a file."""

    def __init__(self, folder: Path, at: datetime = NOON, routes: Routes = ROUTES) -> None:
        self.clock = StandingClock(at.astimezone(UTC))
        self.channel = Recorded()
        self.claims = SqliteClaims(folder / "claims.sqlite", self.clock)
        self.routes = routes
        self.restart()

    def restart(self) -> None:
        self.clock.time += timedelta(minutes=2)  # after which the dead one's claims have lapsed
        channels = dict.fromkeys(Channel, self.channel)
        self.router = Router(self.routes, channels, self.claims, self.clock, f"holder {self.clock.time}")

    def tell(self, told: Told, channel: Channel = Channel.EMAIL) -> Delivery:
        return self.router.deliver(bus(told), channel)


def bus(told: Told) -> BusEvent:
    return bus_event(outbox_event(told))


def test_an_alert_is_sent_once_to_each_channel_however_often_it_comes(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    said = [desk.tell(congestion(), channel) for channel in (Channel.EMAIL, Channel.SLACK) for _ in range(3)]
    assert said == [Delivery.SENT, Delivery.SENT_BEFORE, Delivery.SENT_BEFORE] * 2
    assert [once for *_, once in desk.channel.sent] == [
        f"alert#{channel}#{congestion().alert_id}" for channel in ("email", "slack")
    ]


def test_the_same_of_a_zone_is_told_once_in_a_while_and_what_is_worse_at_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    later = NOON + timedelta(minutes=5)
    assert desk.tell(congestion(Level.CONGESTED)) is Delivery.SENT
    assert desk.tell(congestion(Level.CONGESTED, at=later)) is Delivery.REPEATED
    assert desk.tell(congestion(Level.CONGESTED, at=later)) is Delivery.SENT_BEFORE
    assert desk.tell(congestion(Level.CONGESTED, zone="z-032", at=later)) is Delivery.SENT
    assert desk.tell(congestion(Level.SEVERE, at=later)) is Delivery.SENT
    assert desk.tell(congestion(Level.NORMAL, before=Level.CONGESTED, at=later)) is Delivery.SENT
    desk.clock.time += timedelta(minutes=15)
    assert desk.tell(congestion(Level.CONGESTED, at=NOON + timedelta(minutes=16))) is Delivery.SENT
    never = changed(lambda table: table.update(repeat_minutes=0))
    desk = Desk(tmp_path / "never", routes=never)
    assert [desk.tell(congestion(at=NOON + timedelta(seconds=at))) for at in (0, 60)] == [Delivery.SENT] * 2


def test_a_channel_is_left_alone_in_its_quiet_hours_but_by_what_is_critical(tmp_path: Path) -> None:
    night = NOON.replace(hour=23)
    table = changed(lambda table: table["routes"][2].update(severity="info"))
    desk = Desk(tmp_path, night, table)
    assert desk.tell(congestion(Level.CONGESTED, at=night), Channel.SMS) is Delivery.QUIET
    assert desk.tell(congestion(Level.SEVERE, at=night), Channel.SMS) is Delivery.SENT
    assert desk.channel.sent[0][0] == "Traffic"
    assert len(desk.channel.sent[0][1]) <= 160


def test_what_an_incident_explains_is_sent_to_nobody_and_named_where_its_end_is_told(tmp_path: Path) -> None:
    known = (KnownIncident("0" * 26, "VAN-2026-7K3MQ9", "road_closure", NOON + timedelta(hours=6)),)
    jam = msgspec.structs.replace(congestion(), known=known, withheld=True)
    desk = Desk(tmp_path)
    assert desk.tell(jam) is Delivery.KNOWN
    assert desk.channel.sent == []
    assert desk.tell(msgspec.structs.replace(jam, withheld=False)) is Delivery.SENT
    text = ROUTES.text(congestion(Level.NORMAL, before=Level.SEVERE)).body
    over = msgspec.structs.replace(congestion(Level.NORMAL, before=Level.SEVERE), known=known)
    assert ROUTES.text(over).body == f"{text}\nKnown: incident VAN-2026-7K3MQ9, until 2025-06-02 18:00 PDT."


def test_old_news_are_told_to_nobody(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    old = desk.clock.time - timedelta(minutes=31)
    assert desk.tell(congestion(at=old)) is Delivery.STALE
    assert desk.tell(congestion(at=old + timedelta(minutes=1))) is Delivery.SENT


def test_whoever_dies_while_sending_everybody_hears_once(tmp_path: Path) -> None:
    """Crashes before and after each sending, busy channels, restarts: each alert once where the channel can tell."""
    draw = random.Random(7)  # noqa: S311 reproducible, not secret
    desk = Desk(tmp_path, routes=changed(lambda table: table.update(stale_minutes=1440)))
    alerts = [congestion(Level.SEVERE, f"z-{zone:03d}") for zone in range(20)]
    desk.channel.coming = Faults(draw.choices((None, "crash before", "crash after", "busy"), k=60))
    waiting = list(alerts)
    while waiting:
        try:
            desk.tell(waiting[0])
        except Crash:
            desk.restart()
            continue
        except TransientError:
            continue
        waiting.pop(0)
    assert [once for *_, once in desk.channel.sent] == [f"alert#email#{alert.alert_id}" for alert in alerts]


def test_a_table_with_mistakes_is_refused_with_all_of_them() -> None:
    document = yaml.safe_load(packaged())
    document["timezone"] = "America/Vancover"
    document["routes"][0] |= {"severity": "terrible", "channels": [], "hours": "5-22"}
    document["routes"][1] |= {"hours": "07:00-07:00", "zone": "z-1"}
    with pytest.raises(BadRoutes) as refused:
        load_routes(yaml.safe_dump(document), "mine.yaml")
    for mistake in (
        "mine.yaml", "no time zone 'America/Vancover'", "routes.0.severity", "routes.0.channels", "'5-22' are no hours",
        "'07:00-07:00' has no minute", "routes.1.zone",
    ):  # fmt: skip
        assert mistake in str(refused.value)
    document = yaml.safe_load(packaged())
    document["texts"]["ZoneCoverageLost"]["up"] = {"subject": "{zone.__class__}", "body": "{index}", "short": "{"}
    document["texts"]["ZoneCoverageLost"]["down"]["short"] = "{zone:>1000000000}"
    del document["texts"]["PlatformIngestDegraded"]
    document["texts"]["Else"] = document["texts"]["ZoneCoverageLost"]
    with pytest.raises(BadRoutes) as refused:
        load_routes(yaml.safe_dump(document))
    for mistake in (
        "up.subject: {zone.__class__} is none of", "up.body: {index} is none of", "up.short:", "down.short: {zone}",
        "PlatformIngestDegraded is missing", "Else is no event",
    ):  # fmt: skip
        assert mistake in str(refused.value)
    for text in ("{", "[]", "a: &a [*a]"):
        with pytest.raises(BadRoutes):
            load_routes(text)


@given(st.integers(0, 1439), st.integers(0, 1440), st.integers(0, 1439), st.integers(0, 6))
def test_every_minute_is_within_hours_or_within_the_rest_of_the_day(
    begin: int, end: int, minute: int, day: int
) -> None:
    if begin == end or (begin, end) == (0, 1440):
        return
    at = datetime(2025, 6, 2 + day, minute // 60, minute % 60, tzinfo=VANCOUVER)
    found = []
    for one, other in ((begin, end), (end % 1440, begin or 1440)):
        if one == other:
            return
        hours = f"{one // 60:02d}:{one % 60:02d}-{other // 60:02d}:{other % 60:02d}"
        quiet = ROUTES.quiet_hours[0].model_copy(update={"hours": hours})
        table = ROUTES.model_copy(update={"quiet_hours": (quiet,)})
        found.append(table.is_quiet(Channel.SMS, congestion(Level.SLOW), at))
    assert sorted(found) == [False, True]
