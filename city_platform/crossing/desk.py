"""Looks at traffic and at incidents, and lets each say what it knows to the other.

A look is made of what stands in both stores and of nothing that was heard before, so it does not matter how often it is
made, how many make it, who died in the last one and which events were lost. First the zones that incidents explain are
written into the traffic state; then the newest judged minute is looked at for what has to become an incident and for
what is over.

What is to be opened is written down before it is reported, and reported under the episode's id, once. An incident is
withdrawn while nobody has taken it up; from then on it is the staff's, who read a note instead.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from city_platform.crossing import episodes
from city_platform.crossing.episodes import CITY, Episode, Opened, Seen
from city_platform.crossing.explained import OLDEST, explained
from city_platform.crossing.rules import Opening, Rules
from city_platform.errors import PermanentError
from city_platform.incidents.codec import rfc3339
from city_platform.incidents.model import Channel, Incident, Status
from city_platform.incidents.repository import VersionConflict as IncidentChanged
from city_platform.incidents.roles import SYSTEM, Actor, Role
from city_platform.incidents.service import IncidentNotFound, IncidentService
from city_platform.incidents.window import Window
from city_platform.ports import Clock
from city_platform.traffic import congestion, health, maintenance
from city_platform.traffic.congestion import MINUTE_MS
from city_platform.traffic.health import ZoneCoverage
from city_platform.traffic.maintenance import Maintenance
from city_platform.traffic.roads import Roads
from city_platform.traffic.state import BUCKETS, Record, TrafficState

ACTOR = Actor.of("traffic-watch", [Role.TRAFFIC_ADMIN])  # reports what sensors have shown
_UNWATCHED_MS = 5 * MINUTE_MS  # what was judged before that says nothing of now
_NAMED = 20  # incidents in a message
_AHEAD = timedelta(minutes=5)  # clocks of those who write incidents


@dataclass(slots=True)
class Looked:
    """What a look did. `explained` counts zones; `refused` says what could not be done for good, and why."""

    explained: int = 0
    opened: int = 0
    withdrawn: int = 0
    noted: int = 0
    open: int = 0
    refused: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class CrossingDesk:
    """Makes looks. `link` gives the page of a zone, of the city for None."""

    state: TrafficState
    service: IncidentService
    roads: Roads
    rules: Rules
    clock: Clock
    link: Callable[[str | None], str]

    def look(self) -> Looked:
        """One look. Raises the errors of both stores, and VersionConflict where somebody else looks: look again."""
        now = self.clock.now()
        done = Looked()
        known = self._explain(now, done)
        done.explained = len(known.zones)
        version, opened = episodes.read(self.state)
        seen = self._seen(round(now.timestamp() * 1000), known) if self.rules.opens or opened.episodes else None
        if seen is None:
            done.open = len(opened.episodes)
            return done
        wanted = episodes.judge(opened.episodes, seen, self.rules, self._report)
        version, wanted = self._keep(version, opened.episodes, wanted)
        after: dict[str, Episode] = {}
        for key, one in wanted.items():
            try:
                reported = self._opened(one, done)
                if not episodes.is_over(reported, seen.judged_ms, self.rules) or not self._ended(reported, done):
                    after[key] = reported
            except PermanentError as error:
                after[key] = one
                done.refused.append(f"{one.key}: {error}")
        self._keep(version, wanted, after)
        done.open = len(after)
        return done

    def _explain(self, now: datetime, done: Looked) -> Maintenance:
        categories = frozenset(self.rules.explains)
        window = Window(now - OLDEST, now + _AHEAD, categories)
        incidents = self.service.reported(window, SYSTEM) if categories else ()
        zones, left_out = explained(incidents, self.rules.explains, self.roads, now)
        if left_out:
            done.refused.append(f"too many incidents explain zones; these do not: {', '.join(left_out[:_NAMED])}")
        maintenance.explain(self.state, zones, round(now.timestamp() * 1000))
        return Maintenance(zones={zone: tuple(known) for zone, known in zones.items()})

    def _seen(self, now_ms: int, known: Maintenance) -> Seen | None:
        """What was judged last; None where nobody watches."""
        levels, city = congestion.levels(self.state), health.read_city(self.state)
        if levels is None or city is None or levels.judged_ms < now_ms - _UNWATCHED_MS:
            return None
        coverage: dict[str, ZoneCoverage] = {}
        for number in range(BUCKETS):
            well = health.read(self.state, number)
            coverage |= well.zones if well else {}
        return Seen(
            levels.judged_ms, levels.zones, coverage, city, lambda zone: bool(known.known(zone, levels.judged_ms))
        )

    def _keep(
        self, version: int, before: Mapping[str, Episode], after: Mapping[str, Episode]
    ) -> tuple[int, Mapping[str, Episode]]:
        if before == after:
            return version, after
        body = msgspec.json.encode(Opened(dict(after)))
        self.state.commit([Record(episodes.RECORD, version + 1, body)])
        return version + 1, after

    def _opened(self, one: Episode, done: Looked) -> Episode:
        """The episode with its incident, which is reported where it has none yet."""
        if one.incident_id:
            return one
        answer = self.service.report(one.report, ACTOR, one.alert_id)
        done.opened += not answer.replayed
        incident = answer.incident
        return msgspec.structs.replace(one, incident_id=incident.incident_id, public_ref=incident.public_ref)

    def _ended(self, one: Episode, done: Looked) -> bool:
        """Withdraws the incident, or tells its staff; False where somebody changes it just now."""
        try:
            incident = self.service.get(one.incident_id, ACTOR)
        except IncidentNotFound:
            return True
        if incident.status.closed:
            return True
        note = f"{_WORDS[one.what][1].format(where=_where(one.zone))} since {self._local(one.over_ms)}."
        if _untouched(incident):
            try:
                self.service.transition(
                    one.incident_id, Status.CANCELLED, ACTOR, note=note, expected_version=incident.version
                )
            except IncidentChanged:
                return False  # somebody takes it up in this moment: the next look sees whose it is
            done.withdrawn += 1
        else:
            self.service.comment(one.incident_id, note, ACTOR, public=True, idempotency_key=f"{one.alert_id}#over")
            done.noted += 1
        return True

    def _report(self, rule: Opening, one: Episode) -> dict[str, Any]:
        """What an incident is reported with. Its place is the middle of the zone, where that is in a district."""
        where = _where(one.zone)
        title = _WORDS[one.what][0].format(where=where)
        said = [
            f"{title} since {self._local(one.since_ms)}, as the city's sensors show.",
            f"Now: {self.link(None if one.zone == CITY else one.zone)}",
            "While nobody has taken this up, it is withdrawn by itself when it is over.",
        ]
        return {
            "title": title,
            "category": rule.category,
            "severity": rule.severity.value,
            "description": "\n".join(said),
            "channel": Channel.SENSOR.value,
            "visibility": rule.visibility.value,
            "occurred_at": rfc3339(datetime.fromtimestamp(one.since_ms / 1000, UTC)),
            **self._place(one.zone),
        }

    def _place(self, zone: str) -> dict[str, Any]:
        at = self.roads.registry.zone_index.get(zone)
        if at is not None:
            lat = round(float(self.roads.south[at]) + self.roads.height / 2, 5)
            long = round(float(self.roads.west[at]) + self.roads.width / 2, 5)
            if self.service.reference.district_at(lat, long) is not None:
                return {"lat": lat, "long": long}
        return {"address": _where(zone).capitalize()}

    def _local(self, epoch_ms: int) -> str:
        return datetime.fromtimestamp(epoch_ms / 1000, self.service.reference.zone).strftime("%Y-%m-%d %H:%M %Z")


# Of each kind what it is, and that it is over.
_WORDS = {
    "congestion": ("Standing traffic in {where}", "The traffic moves again in {where}"),
    "silence": ("Silent traffic sensors in {where}", "The sensors are heard again in {where}"),
    "readings": ("Readings of traffic do not come in from {where}", "The readings come in again from {where}"),
}


def _where(zone: str) -> str:
    return "many zones of the city" if zone == CITY else f"zone {zone}"


def _untouched(incident: Incident) -> bool:
    """Whether no staff has done anything with it: it is as it was reported, or only supported by people."""
    return incident.status is Status.REPORTED and incident.assigned_to is None
