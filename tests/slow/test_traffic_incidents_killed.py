"""`city-platform traffic incidents` killed before and after each of its side effects: one incident for one jam, none
left open when the jam is over.
"""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from city_platform.crossing import episodes
from city_platform.crossing.desk import ACTOR
from city_platform.deployment import open_platform
from city_platform.deployment.incidents import open_incident_repository, open_incident_service
from city_platform.incidents.model import Status
from city_platform.incidents.repository import Listing, Pattern
from city_platform.local.traffic_state import SqliteTrafficState
from city_platform.traffic.state import Record
from tests import crossing
from tests.incidents import ADMIN
from tests.patience import PATIENCE_S
from tests.town import ROOT

# The command itself, which dies as by a power cut before or after its nth call of what makes one side effect.
COMMAND = textwrap.dedent(
    """
    import os, signal, sys
    from city_platform.cli import main
    from city_platform.local.incidents import SqliteIncidentRepository
    from city_platform.local.traffic_state import SqliteTrafficState

    owner, name, deadly, moment = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    kind = {one.__name__: one for one in (SqliteIncidentRepository, SqliteTrafficState)}[owner]
    plain, calls = getattr(kind, name), 0

    def counted(*arguments, **options):
        global calls
        calls += 1
        if calls == deadly and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = plain(*arguments, **options)
        if calls == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(kind, name, counted)
    sys.argv = ["city-platform", *sys.argv[5:]]
    main()
    """
)
# What makes a side effect: what explains zones, the intention, the incident, the episode with its incident; at the end
# the withdrawal, and the record without the episode.
BEGINNING = [
    *(("SqliteTrafficState", "commit", nth, moment) for nth in (1, 2, 3) for moment in ("before", "after")),
    *(("SqliteIncidentRepository", "write", 1, moment) for moment in ("before", "after")),
]
END = [
    *(("SqliteIncidentRepository", "write", 1, moment) for moment in ("before", "after")),
    *(("SqliteTrafficState", "commit", 1, moment) for moment in ("before", "after")),
]
RACE = {"title": "Road closed for a race", "category": "traffic_disruption", "channel": "officer"}


def look(
    home: Path, owner: str = "SqliteTrafficState", name: str = "commit", nth: int = 999, moment: str = "before"
) -> int:
    """How one look ended."""
    words = ["traffic", "incidents", "--once", "--home", str(home)]
    environ: Mapping[str, str] = os.environ | {
        "CITY_PLATFORM_TRAFFIC_INCIDENTS": "on",
        "CITY_PLATFORM_TRAFFIC_REGISTRY": "11:90:30",
    }
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, owner, name, str(nth), moment, *words],
        cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr
    return done.returncode


@pytest.mark.parametrize("beginning", BEGINNING)
def test_whenever_it_is_killed_a_jam_is_one_incident(
    beginning: tuple[str, str, int, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, zone = tmp_path / "home", crossing.TOWN.zones[7]
    # Minutes that are judged just now: the newest is the one that has just ended.
    monkeypatch.setattr(crossing, "START", time.time_ns() // 60_000_000_000 * 60_000 - 60 * 60_000)
    state = SqliteTrafficState(home / "traffic" / "state.sqlite")
    crossing.write_minute(state, 59, {zone: 10})
    platform = open_platform(home)
    service = open_incident_service(platform, open_incident_repository(home, platform.clock))
    road = crossing.TOWN.zone_index[crossing.TOWN.zones[20]]
    place = {"lat": float(crossing.ROADS.south[road]) + 0.001, "long": float(crossing.ROADS.west[road]) + 0.001}
    service.report({**RACE, **place}, ADMIN)

    assert look(home, *beginning) == -signal.SIGKILL
    look(home)
    (one,) = service.list(Listing(Pattern.REPORTED_BY, (str(ACTOR.subject),)), ACTOR, 10).incidents
    (episode,) = episodes.read(state)[1].episodes.values()
    assert (episode.zone, episode.incident_id) == (zone, one.incident_id)

    crossing.write_minute(state, 59)
    version, opened = episodes.read(state)
    ended = {key: msgspec.structs.replace(each, over_ms=crossing.end_of(40)) for key, each in opened.episodes.items()}
    state.commit([Record(episodes.RECORD, version + 1, msgspec.json.encode(episodes.Opened(ended)))])
    for moment in END:
        assert look(home, *moment) == -signal.SIGKILL
    look(home)
    found = service.list(Listing(Pattern.REPORTED_BY, (str(ACTOR.subject),)), ACTOR, 10).incidents
    assert [(each.incident_id, each.status, each.version) for each in found] == [(one.incident_id, Status.CANCELLED, 2)]
    assert episodes.read(state)[1].episodes == {}
