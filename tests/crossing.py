"""What the desk between traffic and incidents looks at, for tests: judged minutes, and a service over a store."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from city_platform.crossing.desk import CrossingDesk
from city_platform.crossing.rules import Rules, load_rules
from city_platform.incidents.cursor import Cursors
from city_platform.incidents.repository import Change
from city_platform.incidents.service import IncidentService
from city_platform.local.incidents import SqliteIncidentRepository
from city_platform.local.keys import LocalKeyService
from city_platform.traffic import congestion, health
from city_platform.traffic.congestion import Congestion, Level, ZoneLevel
from city_platform.traffic.health import City, HealthOfBucket, ZoneCoverage
from city_platform.traffic.registry import generate
from city_platform.traffic.roads import generate_roads
from city_platform.traffic.state import Record, TrafficState
from tests.incidents import reference
from tests.town import StandingClock
from tests.traffic import Crash, Faults
from tests.traffic_minutes import MINUTE_MS, START

TOWN = generate(seed=11, sensors=90, zones=30)
ROADS = generate_roads(TOWN)
RULES = load_rules(reference())


def end_of(minute: int) -> int:
    return START + (minute + 1) * MINUTE_MS


def levels(severe: Mapping[str, int], *, unknown: Collection[str] = ()) -> Mapping[str, ZoneLevel]:
    """All zones: those that are severe since the end of that minute, and the others."""
    return {
        zone: ZoneLevel(
            Level.SEVERE if zone in severe else Level.NORMAL,
            end_of(severe[zone]) if zone in severe else 0,
            (None if zone in unknown else 80.0 if zone in severe else 10.0,),
        )
        for zone in TOWN.zones
    }


def write_minute(
    state: TrafficState,
    minute: int,
    severe: Mapping[str, int] | None = None,
    lost: Mapping[str, int] | None = None,
    degraded_since: int | None = None,
) -> None:
    """Writes what a watcher would have judged at the end of a minute, whoever judged the one before."""
    coverage = {
        zone: ZoneCoverage(3, 3, 9, True, end_of(since), True) if zone in (lost or {}) else ZoneCoverage(0, 3)
        for zone in TOWN.zones
        for since in [(lost or {}).get(zone, 0)]
    }
    since = 0 if degraded_since is None else end_of(degraded_since)
    bodies = {
        congestion.record_key(0): congestion.encode(Congestion(end_of(minute), dict(levels(severe or {})))),
        health.record_key(0): health.encode(HealthOfBucket(end_of(minute), coverage, health.unheard(TOWN.number))),
        health.CITY_KEY: msgspec.json.encode(City(end_of(minute), 0, 90, degraded_since is not None, since)),
    }
    records = []
    for key, body in bodies.items():
        stored = state.record(key)
        records.append(Record(key, (stored.version if stored else 0) + 1, body))
    state.commit(records)


@dataclass
class FaultyIncidents(SqliteIncidentRepository):
    """A store at whose writes things go wrong as `coming` says."""

    coming: Faults = field(default_factory=lambda: Faults([]))

    def __init__(self, path: Path, clock: StandingClock) -> None:
        super().__init__(path, clock)
        self.coming = Faults([])

    def write(self, changes: Sequence[Change]) -> None:
        fault = self.coming.next()
        if fault == "crash before":
            raise Crash
        super().write(changes)
        if fault == "crash after":
            raise Crash


class Office:
    """A desk over a state and a store of incidents; `at` makes it some minute."""

    def __init__(self, folder: Path, state: TrafficState, rules: Rules = RULES) -> None:
        self.clock = StandingClock(datetime.fromtimestamp(START / 1000, UTC))
        keys = LocalKeyService(folder / "keys.json")
        keys.ensure("alias/city-platform/incidents/contact")
        self.store = FaultyIncidents(folder / "incidents.sqlite", self.clock)
        self.service = IncidentService(self.store, reference(), keys, self.clock, Cursors(b"s" * 32))
        self.state = state
        self.desk = CrossingDesk(
            state, self.service, ROADS, rules, self.clock, lambda zone: f"https://x.example/{zone}"
        )

    def at(self, minute: int) -> None:
        self.clock.time = datetime.fromtimestamp((end_of(minute) + 20_000) / 1000, UTC)
