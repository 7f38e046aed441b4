"""Which of what traffic shows becomes an incident, and when it is over: decided from the newest judged minute alone.

An episode begins when a rule's state has lasted, and ends when it has not been so for a while: a zone that is severe,
better for some minutes and severe again is one episode, and one incident. More zones than a table allows at once are
one episode of the city, so that no outage opens hundreds of incidents.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from city_platform.crossing.rules import KINDS, Kind, Opening, Rules
from city_platform.incidents.model import Visibility
from city_platform.traffic.congestion import LEVELS, MINUTE_MS, Level, ZoneLevel
from city_platform.traffic.events import alert_id
from city_platform.traffic.health import City, Limits, ZoneCoverage
from city_platform.traffic.state import TrafficState

RECORD = "incidents"  # the traffic state's record of open episodes; its body is JSON
CITY = "city"  # the zone of what concerns all of them


class Episode(msgspec.Struct, frozen=True):
    """Something of traffic that is an incident. Times in epoch ms.

    `zone` may be CITY. `over_ms` is since when it is no longer so, 0 while it is. `report` is what the incident is
    reported with, written before it is reported, so that whoever dies in between is followed by the same report;
    `incident_id` and `public_ref` are empty until it was.
    """

    alert_id: str
    what: Kind
    zone: str
    since_ms: int
    report: dict[str, Any]
    over_ms: int = 0
    incident_id: str = ""
    public_ref: str = ""
    public: bool = True

    @property
    def key(self) -> str:
        return f"{self.what}#{self.zone}"


class Opened(msgspec.Struct, frozen=True):
    """The record: open episodes by their keys."""

    episodes: dict[str, Episode] = {}


@dataclass(frozen=True, slots=True)
class Seen:
    """The newest judged minute, which ends at `judged_ms`; `is_known` says whether an incident explains a zone."""

    judged_ms: int
    levels: Mapping[str, ZoneLevel]
    coverage: Mapping[str, ZoneCoverage]
    city: City
    is_known: Callable[[str], bool]


def read(state: TrafficState) -> tuple[int, Opened]:
    """The record's version, 0 where there is none, and what it holds."""
    record = state.record(RECORD)
    return (record.version, msgspec.json.decode(record.body, type=Opened)) if record else (0, Opened())


def judge(
    before: Mapping[str, Episode], seen: Seen, rules: Rules, reported: Callable[[Opening, Episode], dict[str, Any]]
) -> Mapping[str, Episode]:
    """The open episodes after the minute; `reported` says what a new one's incident is reported with."""
    after: dict[str, Episode] = {}
    for what in KINDS:
        so = _so(what, seen, rules)
        ours = [one for one in before.values() if one.what == what]
        after |= {one.key: _continued(one, so, seen, rules) for one in ours}
        many = f"{what}#{CITY}" in after
        due = {} if many else _due(what, so, {one.zone for one in ours}, seen, rules)
        if what != "readings" and len(due) + len(ours) > rules.zones_at_once and due:
            since = min(due.values())
            due = {CITY: since}
        for zone, since in due.items():
            rule = rules.rule(what, zone) or next(one for one in rules.opens if one.what == what)
            public = rule.visibility is Visibility.PUBLIC
            new = Episode(_name(what, zone, since, seen), what, zone, since, {}, public=public)
            after[new.key] = msgspec.structs.replace(new, report=reported(rule, new))
    return after


def is_over(episode: Episode, judged_ms: int, rules: Rules) -> bool:
    """Whether it has not been so for long enough."""
    return bool(episode.over_ms) and judged_ms - episode.over_ms >= rules.over_minutes * MINUTE_MS


def _so(what: Kind, seen: Seen, rules: Rules) -> Mapping[str, int]:
    """Since when it is so, by zone, also where no rule looks: what is open was begun by a rule that may be gone."""
    match what:
        case "congestion":
            return {zone: one.since_ms for zone, one in seen.levels.items() if one.level in _enough(rules, zone)}
        case "silence":
            silent = {} if seen.city.degraded else seen.coverage
            return {zone: one.since_ms for zone, one in silent.items() if one.lost}
        case "readings":
            return {CITY: seen.city.since_ms} if seen.city.degraded else {}


def _enough(rules: Rules, zone: str) -> Sequence[Level]:
    """The levels that are bad enough in a zone."""
    rule = rules.rule("congestion", zone)
    return LEVELS[LEVELS.index(rule.level if rule else Level.SEVERE) :]


def _continued(one: Episode, so: Mapping[str, int], seen: Seen, rules: Rules) -> Episode:
    """An open episode after the minute. What cannot be told of is as it was."""
    several = one.zone == CITY and one.what != "readings"
    holds = len(so) > rules.zones_at_once if several else one.zone in so
    level = seen.levels.get(one.zone)
    unknown = one.what == "congestion" and level is not None and not level.known
    unknown |= one.what == "silence" and seen.city.degraded
    if holds or unknown:
        return msgspec.structs.replace(one, over_ms=0) if holds else one
    return msgspec.structs.replace(one, over_ms=one.over_ms or seen.judged_ms)


def _due(what: Kind, so: Mapping[str, int], open_zones: set[str], seen: Seen, rules: Rules) -> dict[str, int]:
    """Where it has lasted, is no episode yet, and nothing explains it."""
    found = {}
    for zone, since in so.items():
        rule = rules.rule(what, zone)
        lasted = rule is not None and seen.judged_ms - since >= rule.minutes * MINUTE_MS
        lasted &= what != "congestion" or seen.levels[zone].known
        if lasted and zone not in open_zones and not seen.is_known(zone):
            found[zone] = since
    return found


def _name(what: Kind, zone: str, since_ms: int, seen: Seen) -> str:
    """The id of the event that began it, where one zone's or the city's event did."""
    if what == "readings":
        return alert_id(CITY, "degraded", since_ms)
    if zone == CITY:
        return alert_id(CITY, what, since_ms)
    if what == "silence":
        return alert_id(zone, "lost", since_ms + (Limits().zone_minutes - 1) * MINUTE_MS)
    return alert_id(zone, seen.levels[zone].level, since_ms - MINUTE_MS)
