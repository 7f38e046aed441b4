"""What of a bucket's levels and health people have not been told, and what they are told: events, and that they were.

What is so and what was told are kept apart. So nothing is told twice, nothing is lost where a commit takes only so many
events, and what is suppressed for a while is told when that is over, if it still holds. What an incident explains is an
event all the same, but withheld from people: they hear of it when the incident no longer explains it and it still
holds, and of its end only if they heard of its beginning.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from city_platform.traffic.congestion import LEVELS, MINUTE_MS, Congestion, Level
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
    moment,
)
from city_platform.traffic.health import FAULTS, HEALTHS, City, HealthOfBucket, tell, to_tell
from city_platform.traffic.maintenance import Known, Maintenance
from city_platform.traffic.registry import sensor_id
from city_platform.traffic.stream import shard_of


@dataclass(frozen=True, slots=True)
class Teller:
    """Makes events of a minute that was judged. `link` gives the page of a zone, of the city for None.

    `shards` is how many equal parts of the keys the stream's shards have: a zone's readings are all in one.
    """

    link: Callable[[str | None], str]
    shards: int

    def bucket(
        self,
        congestion: Congestion,
        health: HealthOfBucket,
        zone_of: NDArray[np.int64],
        city: City,
        work: Maintenance,
        now_ms: int,
        limit: int,
    ) -> tuple[Congestion, HealthOfBucket, Sequence[Told]]:
        """At most `limit` events of what was not told, levels first, and the state in which it was.

        `zone_of` is each sensor's place among the bucket's zones; `work` says which incidents explain a zone. Under a
        degraded city no silence is told, under a zone's none of its sensors.
        """
        levels, told_levels = self._levels(congestion, work, now_ms, limit)
        events: list[Told] = list(told_levels)
        if city.degraded:
            return levels, health, events
        zones = dict(health.zones)
        for name, zone in health.zones.items():
            known = work.known(name, health.judged_ms)
            believed = zone.told if zone.heard is None else zone.heard
            overdue = zone.lost and not believed and not known
            if (zone.lost != zone.told or overdue) and len(events) < limit:
                withheld = zone.lost == believed or (zone.lost and bool(known))
                events.append(self._zone(health, name, known, now_ms, withheld=withheld))
                since = zone.since_ms if zone.lost else 0
                still = believed if withheld and believed != zone.lost else None
                zones[name] = msgspec.structs.replace(zone, told=zone.lost, told_since_ms=since, heard=still)
        heard = np.array([not zone.suppresses for zone in health.zones.values()], dtype=bool)
        chosen = np.flatnonzero(to_tell(health.sensors) & heard[zone_of])[: limit - len(events)].tolist()
        names = list(health.zones)
        events += [self._sensor(health, at, names[zone_of[at]], work, now_ms) for at in chosen]
        return levels, replace(health, zones=zones, sensors=tell(health.sensors, chosen)), events

    def city(self, before: City | None, after: City, now_ms: int) -> PlatformIngestDegraded | None:
        """The event of a change, if there is one."""
        was = before.degraded if before else False
        if was == after.degraded:
            return None
        since = before.since_ms if before and was else None
        return PlatformIngestDegraded(
            schema=1,
            alert_id=alert_id("city", "degraded" if after.degraded else "restored", after.judged_ms - MINUTE_MS),
            direction="up" if after.degraded else "down",
            silent=after.silent,
            active=after.active,
            late_shards=[f"shardId-{shard:012d}" for shard in after.late],
            duration_s=_duration_s(since, after.judged_ms),
            links=Links(self.link(None)),
            window_start=moment(after.judged_ms - MINUTE_MS),
            window_end=moment(after.judged_ms),
            detected_at=moment(now_ms),
        )

    def _levels(
        self, congestion: Congestion, work: Maintenance, now_ms: int, limit: int
    ) -> tuple[Congestion, Sequence[Told]]:
        events: list[Told] = []
        zones = dict(congestion.zones)
        for name, zone in congestion.zones.items():
            known = work.known(name, congestion.judged_ms)
            heard = zone.heard or zone.told
            worse = LEVELS.index(zone.level) > LEVELS.index(heard)
            overdue = worse and not known and zone.known
            if not (zone.level is not zone.told or overdue) or len(events) >= limit:
                continue
            withheld = zone.level is heard or (worse and bool(known))
            events.append(self._level(congestion, name, known, now_ms, withheld=withheld))
            still = heard if withheld and heard is not zone.level else None
            zones[name] = msgspec.structs.replace(zone, told=zone.level, heard=still)
        return Congestion(congestion.judged_ms, zones), events

    def _level(
        self, congestion: Congestion, name: str, known: Sequence[Known], now_ms: int, *, withheld: bool
    ) -> CongestionLevelChanged:
        zone = congestion.zones[name]
        before = zone.told if withheld or not zone.heard else zone.heard
        what = str(zone.level) if zone.level is not zone.told else f"{zone.level} still"
        figures = zone.figures
        if figures is None or figures.index is None or figures.tti is None or figures.service is None:
            raise ValueError(f"the level of {name} changed in a minute of which nothing is known")
        return CongestionLevelChanged(
            schema=1,
            alert_id=alert_id(name, what, congestion.judged_ms - MINUTE_MS),
            direction=_direction(before, zone.level),
            zone_id=name,
            from_=before,
            to=zone.level,
            index=figures.index,
            tti=figures.tti,
            los=figures.service,
            vehicles=figures.vehicles,
            coverage=round(figures.coverage, 3),
            trace=Trace([f"shardId-{shard_of(name, self.shards):012d}"], figures.last_seq),
            links=Links(self.link(name)),
            window_start=moment(congestion.judged_ms - MINUTE_MS),
            window_end=moment(congestion.judged_ms),
            detected_at=moment(now_ms),
            known=_known(known),
            withheld=withheld,
        )

    def _zone(
        self, health: HealthOfBucket, name: str, known: Sequence[Known], now_ms: int, *, withheld: bool
    ) -> ZoneCoverageLost:
        zone = health.zones[name]
        what = ("lost" if zone.lost else "covered") + ("" if zone.lost != zone.told else " still")
        return ZoneCoverageLost(
            schema=1,
            alert_id=alert_id(name, what, health.judged_ms - MINUTE_MS),
            direction="up" if zone.lost else "down",
            zone_id=name,
            silent=zone.silent,
            active=zone.active,
            duration_s=None if zone.lost else _duration_s(zone.told_since_ms, health.judged_ms),
            links=Links(self.link(name)),
            window_start=moment(health.judged_ms - MINUTE_MS),
            window_end=moment(health.judged_ms),
            detected_at=moment(now_ms),
            known=_known(known),
            withheld=withheld,
        )

    def _sensor(
        self, health: HealthOfBucket, at: int, zone: str, work: Maintenance, now_ms: int
    ) -> SensorHealthChanged:
        sensors, known = health.sensors, work.known(zone, health.judged_ms)
        name = sensor_id(int(sensors.number[at]))
        now, told = HEALTHS[sensors.health[at]], HEALTHS[sensors.told[at]]
        failed = now in FAULTS
        return SensorHealthChanged(
            schema=1,
            alert_id=alert_id(name, now, health.judged_ms - MINUTE_MS),
            direction="up" if failed else "down",
            zone_id=zone,
            sensor_id=name,
            from_=told,
            to=now,
            last_heard=moment(int(sensors.heard[at])),
            duration_s=None if failed else _duration_s(int(sensors.told_since[at]), health.judged_ms),
            links=Links(self.link(zone)),
            window_start=moment(health.judged_ms - MINUTE_MS),
            window_end=moment(health.judged_ms),
            detected_at=moment(now_ms),
            known=_known(known),
            withheld=bool(known),
        )


def zone_pages(public_url: str | None) -> Callable[[str | None], str]:
    """Where people find the page of a zone, or of the city."""
    page = f"{(public_url or 'http://127.0.0.1:8000').rstrip('/')}/traffic"
    return lambda zone: page if zone is None else f"{page}/zones/{zone}"


def _known(known: Sequence[Known]) -> tuple[KnownIncident, ...]:
    return tuple(KnownIncident(one.incident_id, one.public_ref, one.category, moment(one.until_ms)) for one in known)


def _direction(before: Level, after: Level) -> Direction:
    return "up" if LEVELS.index(after) > LEVELS.index(before) else "down"


def _duration_s(since_ms: int | None, end_ms: int) -> int | None:
    return None if since_ms is None else max(0, end_ms - since_ms) // 1000
