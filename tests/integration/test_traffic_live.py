"""Traffic as it is served: from either state, in how many queries, to programs and to people, and when nothing runs."""

import base64
import csv
import gzip
import hashlib
import io
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import boto3
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

from city_platform.api.app import create_app
from city_platform.api.composition import open_api
from city_platform.api.traffic import Live, Traffic, pages, router
from city_platform.aws.traffic_state import DynamoTrafficState
from city_platform.lake.lake import StagedFile
from city_platform.layers import curated
from city_platform.layers.traffic_history import DATASET, LakeHours
from city_platform.local.platform import local_platform
from city_platform.local.traffic_state import SqliteTrafficState
from city_platform.traffic import congestion, health
from city_platform.traffic.congestion import Congestion, Level, ZoneLevel
from city_platform.traffic.hour_sums import HOUR_MS
from city_platform.traffic.registry import generate, sensor_id
from city_platform.traffic.state import BUCKETS, Key, Record, StateUnavailable, TrafficState, Window, bucket
from tests.integration.conftest import REGION
from tests.live_traffic import REGISTRY, ROADS, SAID, count, told
from tests.town import StandingClock
from tests.traffic import NOON, MemoryState, truth

WINDOW_MS = 10_000
VANCOUVER = ZoneInfo("America/Vancouver")


@dataclass
class Queries:
    """How often the state asked its table, by operation."""

    made: list[str] = field(default_factory=list)

    def note(self, model: Any, **_: Any) -> None:
        self.made.append(model.name)


class Failing(SqliteTrafficState):
    """A state that tells of the city once, and then nothing more."""

    asked = 0

    def city(self, start_ms: int, parts: Sequence[int] = range(BUCKETS)) -> Sequence[Window]:
        self.asked += 1
        if self.asked > 1:
            raise StateUnavailable("down")
        return SqliteTrafficState.city(self, start_ms, parts)

    def get(self, keys: Sequence[Key]) -> Mapping[Key, Window]:
        raise StateUnavailable(f"down, and {len(keys)} were asked for")


@dataclass
class Watched:
    """An API that shows the traffic of a state, at a time that stands still."""

    client: TestClient
    state: TrafficState
    clock: StandingClock
    queries: Queries
    home: Path

    def at(self, epoch_ms: int) -> None:
        self.clock.time = datetime.fromtimestamp(epoch_ms / 1000, UTC)

    def json(self, path: str) -> Any:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def zones(self) -> dict[str, Any]:
        return {one["id"]: one["properties"] for one in self.json("/traffic/v1/map.geojson")["features"]}


def watched(home: Path, find_state: Callable[[], TrafficState | None], queries: Queries) -> Watched:
    clock = StandingClock(datetime.fromtimestamp(NOON / 1000, UTC))
    desk = open_api(home, {}, rate_limit=0, clock=clock).state.desk
    traffic = Traffic(Live(lambda: REGISTRY, find_state, clock), LakeHours(local_platform(home, clock)), VANCOUVER)
    app = create_app(desk, routers=[router(traffic), pages(traffic, desk.service.reference)])
    state = find_state()
    assert state is not None
    return Watched(TestClient(app, raise_server_exceptions=False), state, clock, queries, home)


@pytest.fixture(params=["local", "aws"])
def city(request: pytest.FixtureRequest, home: Path) -> Watched:
    queries = Queries()
    if request.param == "local":
        state: TrafficState = SqliteTrafficState(home / "traffic" / "state.sqlite")
    else:
        request.getfixturevalue("aws_environment")
        client = boto3.client("dynamodb", region_name=REGION, endpoint_url=request.getfixturevalue("aws"))
        table = f"live-{hashlib.sha256(request.node.name.encode()).hexdigest()[:12]}"
        client.create_table(
            TableName=table,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("part", "item")],
            KeySchema=[{"AttributeName": "part", "KeyType": "HASH"}, {"AttributeName": "item", "KeyType": "RANGE"}],
        )
        client.meta.events.register("before-call.dynamodb", queries.note)
        state = DynamoTrafficState(table, lambda: client)
    return watched(home, lambda: state, queries)


@pytest.fixture
def local(home: Path) -> Watched:
    state = SqliteTrafficState(home / "traffic" / "state.sqlite")
    return watched(home, lambda: state, Queries())


def test_the_map_says_of_every_zone_what_was_measured_in_sixteen_queries(city: Watched) -> None:
    readings = told(NOON)
    count(city.state, readings)
    city.at(NOON + 12_000)
    city.queries.made.clear()
    found = city.json("/traffic/v1/map.geojson")
    assert city.queries.made.count("Query") <= 16
    assert (found["status"], found["age_s"], found["at"]) == ("live", 3.0, "2026-05-28T20:26:52.000Z")
    for place, feature in enumerate(found["features"]):
        zone = REGISTRY.zones[place]
        sums = truth(readings, REGISTRY)[zone, NOON]
        said = feature["properties"]
        speed = 1e6 * sums["vehicles"] / sums["pace"]
        free_flow = int(ROADS.free_flow_x10[place]) / 10
        assert feature["id"] == said["zone"] == zone
        assert said["speed_kmh"] == pytest.approx(speed, abs=0.051)
        assert said["index"] == pytest.approx(100 * max(0.0, 1 - speed / free_flow), abs=0.051)
        assert said["tti"] == pytest.approx(free_flow / speed, abs=0.001)
        assert said["vehicles_per_hour"] == sums["vehicles"] * 360
        assert (said["coverage"], said["old"], said["age_s"]) == (1.0, False, 3.0)
        assert feature["geometry"]["coordinates"][0] == [
            [round(one, 6) for one in point] for point in ROADS.ring(place)
        ]


def test_the_map_of_a_whole_city_is_sixteen_queries(city: Watched) -> None:
    registry = generate(seed=7, sensors=200, zones=100)
    plain = MemoryState()
    count(plain, told(NOON, [0]))
    (one,) = plain.kept.values()
    assert set(city.state.put([msgspec.structs.replace(one, zone=zone) for zone in registry.zones])) == {None}
    live = Live(lambda: registry, lambda: city.state, city.clock)
    for seconds in (11, 13, 15):  # the first one, one behind a window that has not begun, and again
        city.at(NOON + seconds * 1000)
        city.queries.made.clear()
        assert len(live.city().zones) == 100
        assert city.queries.made.count("Query") in {0, 16}
    assert live.city().status == "live"


def test_however_many_read_the_state_is_read_once_a_second(city: Watched) -> None:
    count(city.state, told(NOON))
    city.at(NOON + 12_000)
    city.json("/traffic/v1/map.geojson")
    city.queries.made.clear()
    bodies = {city.client.get("/traffic/v1/map.geojson").content for _ in range(20)}
    assert len(bodies) == 1
    for path in ("/traffic", "/traffic/v1/health"):
        assert city.client.get(path).status_code == 200
    assert city.queries.made == []
    city.at(NOON + 12_999)
    assert city.client.get("/traffic/v1/map.geojson").content in bodies
    city.at(NOON + 13_000)
    assert city.client.get("/traffic/v1/map.geojson").content not in bodies


def test_many_at_once_wait_for_one_read(local: Watched) -> None:
    count(local.state, told(NOON))
    local.at(NOON + 12_000)
    asked: list[int] = []

    class Slow(SqliteTrafficState):
        def city(self, start_ms: int, parts: Sequence[int] = range(BUCKETS)) -> Sequence[Window]:
            asked.append(start_ms)
            threading.Event().wait(0.05)
            return SqliteTrafficState.city(self, start_ms, parts)

    live = Live(lambda: REGISTRY, lambda: Slow(local.home / "traffic" / "state.sqlite"), local.clock)
    seen: list[int] = []
    threads = [threading.Thread(target=lambda: seen.append(len(live.city().zones))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (seen, len(asked)) == ([4] * 12, 1)


def test_a_reading_is_on_the_map_within_ten_seconds_for_who_looks_every_five(local: Watched) -> None:
    """The stream takes two seconds here, a page renews itself after five; windows begin anew in between."""
    shown: dict[int, int] = {}
    readings = [one for turn in range(12) for one in told(NOON + turn * WINDOW_MS)]
    for now in range(NOON, NOON + 120_000, 1_000):
        arrived = [one for one in readings if now - 3_000 < one.ts_ms <= now - 2_000]
        if arrived:
            count(local.state, arrived)
        if now % 5_000 == 0:
            local.at(now)
            zone = local.zones()["z-000"]
            if zone["measured_at"]:
                measured = round(datetime.fromisoformat(zone["measured_at"]).timestamp() * 1000)
                shown.setdefault(measured, now)
    assert len(shown) >= 10
    assert all(now - measured <= 10_000 for measured, now in shown.items())


def test_a_zone_and_its_sensors_are_as_they_were_heard_last(city: Watched) -> None:
    readings = told(NOON) + told(NOON - WINDOW_MS, [1])
    count(city.state, readings[60:])
    count(city.state, readings[:60])
    city.at(NOON + 10_000)
    found = city.json("/traffic/v1/zones/z-001")
    latest = truth(readings, REGISTRY)["z-001", NOON]["latest"]
    assert len(found["sensors"]) == len(latest)
    for said in found["sensors"]:
        seq, ts, vehicles, speed_x10 = latest[int(said["sensor"][2:])]
        assert (said["vehicles"], said["heard"], said["zone"]) == (vehicles, True, "z-001")
        assert said["speed_kmh"] == (None if speed_x10 < 0 else speed_x10 / 10)
        assert datetime.fromisoformat(said["measured_at"]).timestamp() * 1000 == pytest.approx(ts)
        assert seq
    one = found["sensors"][3]
    assert city.json(f"/traffic/v1/sensors/{one['sensor']}")["sensor"] == one
    city.at(NOON + 200_000)
    silent = city.json(f"/traffic/v1/sensors/{one['sensor']}")["sensor"]
    assert (silent["heard"], silent["measured_at"], silent["vehicles"]) == (False, None, None)
    assert city.json("/traffic/v1/zones/z-001")["zone"]["old"] is True


def test_history_comes_from_the_state_until_the_lake_has_the_hour_corrected(city: Watched) -> None:
    hour = NOON // HOUR_MS * HOUR_MS
    for start in (hour, hour + HOUR_MS - WINDOW_MS, hour + HOUR_MS):
        count(city.state, told(start))
    city.at(hour + HOUR_MS + 60_000)
    moments = (
        f"from={datetime.fromtimestamp(hour / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
        f"&to={datetime.fromtimestamp(hour / 1000 + 3660, UTC):%Y-%m-%dT%H:%M:%SZ}"
    )
    path = f"/traffic/v1/zones/z-002/history?{moments}&resolution=300s"
    live = city.json(path)
    assert [one["source"] for one in live["steps"]] == ["state"] * 3
    vehicles = sum(one.vehicles for one in told(hour) if REGISTRY.zone[one.sensor] == 2)
    assert live["steps"][0]["vehicles"] == vehicles
    publish_corrected(city, hour, {"z-001": 5, "z-002": vehicles + 7})
    city.at(hour + HOUR_MS + 62_000)
    joined = city.json(path)
    assert [(one["source"], one["vehicles"]) for one in joined["steps"]] == [
        ("lake", vehicles + 7),
        ("state", live["steps"][2]["vehicles"]),
    ]
    assert [one["source"] for one in joined["sources"]] == ["lake", "state"]
    assert re.fullmatch("[0-9a-f]{16}", joined["steps"][0]["revision"])
    assert joined["steps"][1]["revision"] is None
    assert joined["sources"][0]["end"] == joined["sources"][1]["start"]
    written = city.client.get(f"{path}&format=csv")
    assert written.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(written.text, newline="")))
    assert [(one["source"], int(one["vehicles"])) for one in rows] == [
        (one["source"], one["vehicles"]) for one in joined["steps"]
    ]
    assert joined["steps"][0]["speed_kmh"] == 50.0


def publish_corrected(city: Watched, hour_ms: int, vehicles: dict[str, int]) -> None:
    """Publishes the hour's curated layer with one window a zone, all at 50 km/h."""
    lake = local_platform(city.home, city.clock).lake
    names = ("readings", "active", "vehicles", "pace", "occupancy", "occupancy_readings")
    rows = [
        {"zone": zone, "window_start": datetime.fromtimestamp(hour_ms / 1000, UTC), **dict.fromkeys(names, 1)}
        | {"vehicles": count, "pace": count * 20_000}
        for zone, count in vehicles.items()
    ]
    scratch = lake.store.scratch()
    scratch.mkdir(parents=True, exist_ok=True)
    file = scratch / "part-00000.parquet"
    pq.write_table(pa.Table.from_pylist(rows), file)
    lake.publish(
        curated.LAYER,
        DATASET,
        datetime.fromtimestamp(hour_ms / 1000, UTC).strftime("%Y-%m-%d-%H"),
        inputs={},
        parts={"parquet": [StagedFile.of(file, len(rows))]},
        counts={"rows": len(rows)},
        schema=[],
    )


def test_a_state_that_does_not_answer_leaves_the_map_with_its_age_and_says_so(local: Watched) -> None:
    failing = Failing(local.home / "traffic" / "state.sqlite")
    count(local.state, told(NOON))
    local.at(NOON + 12_000)
    assert local.json("/traffic/v1/health")["failing"] is False
    live = Live(lambda: REGISTRY, lambda: failing, local.clock)
    desk = open_api(local.home, {}, rate_limit=0, clock=local.clock).state.desk
    traffic = Traffic(live, LakeHours(local_platform(local.home, local.clock)), VANCOUVER)
    app = create_app(desk, routers=[router(traffic), pages(traffic, desk.service.reference)])
    client = TestClient(app, raise_server_exceptions=False)
    assert client.get("/traffic/v1/map.geojson").json()["status"] == "live"
    for seconds, status in ((2, "live"), (20, "old")):
        local.at(NOON + 20_000 + seconds * 1000)
        found = client.get("/traffic/v1/health").json()
        assert (found["failing"], found["status"], found["age_s"]) == (True, status, 11.0 + seconds)
    page = client.get("/traffic").text
    assert "Nothing new has been heard for 31 s" in page
    assert "does not answer" in page
    answer = client.get("/traffic/v1/zones/z-001")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert int(answer.headers["retry-after"]) > 0


def test_levels_are_the_watchers_while_it_runs(city: Watched) -> None:
    count(city.state, told(NOON))
    severe = ZoneLevel(Level.SEVERE, since_ms=NOON - 60_000, told=Level.SEVERE)
    body = congestion.encode(Congestion(NOON, {"z-001": severe}))
    free_flow = Record("free_flow", 1, msgspec.json.encode({"z-003": 999}))
    degraded = Record(health.CITY_KEY, 1, msgspec.json.encode(health.City(NOON, degraded=True)))
    city.state.commit([Record(congestion.record_key(bucket("z-001")), 1, body), free_flow, degraded])
    city.at(NOON + 12_000)
    zones = city.zones()
    assert (zones["z-001"]["level"], zones["z-001"]["level_since"]) == ("severe", "2026-05-28T20:25:40.000Z")
    assert zones["z-003"]["free_flow_kmh"] == 99.9
    assert zones["z-002"]["level_since"] is None
    page = city.client.get("/traffic").text
    assert '<span class="level">severe</span>' in page
    alert = '<a href="/traffic/zones/z-001">z-001</a>: <span class=level>severe</span> since 13:25'
    assert f"<h2>Alerts that stand</h2><ul><li>{alert}</li></ul>" in page
    assert "fell silent at once" in page
    count(city.state, told(NOON + 600_000))
    city.at(NOON + 612_000)
    assert city.zones()["z-001"]["level_since"] is None, "a watcher that stopped ten minutes ago decides nothing"
    later = city.client.get("/traffic").text
    assert "Nobody decides on levels at present" in later
    assert "Alerts that stand" not in later
    assert "fell silent at once" not in later


def test_where_no_traffic_runs_the_page_says_so_and_nothing_is_made(home: Path) -> None:
    clock = StandingClock()
    client = TestClient(open_api(home, SAID, rate_limit=0, clock=clock), raise_server_exceptions=False)
    assert "No traffic runs here" in client.get("/traffic").text
    assert client.get("/traffic/v1/health").json()["status"] == "none"
    assert len(client.get("/traffic/v1/map.geojson").json()["features"]) == 4
    assert client.get("/traffic/v1/zones/z-001/history").json()["steps"] == []
    assert "Nothing was heard" in client.get("/traffic/zones/z-001").text
    assert not (home / "traffic").exists()
    state = SqliteTrafficState(home / "traffic" / "state.sqlite")
    count(state, told(NOON))
    clock.time = datetime.fromtimestamp(NOON / 1000 + 12, UTC)
    assert client.get("/traffic/v1/health").json()["status"] == "live", "it is found once it is there"


@pytest.mark.parametrize(
    ("path", "status", "fields"),
    [
        ("/traffic/v1/zones/z-999", 404, None),
        ("/traffic/v1/zones/" + "z" * 21, 400, ["zone"]),
        ("/traffic/v1/sensors/s-99999", 404, None),
        ("/traffic/v1/sensors/%3Cscript%3E", 404, None),
        ("/traffic/v1/zones/z-999/history", 404, None),
        ("/traffic/v1/map.geojson?zone=z-001", 400, ["zone"]),
        (
            "/traffic/v1/zones/z-001/history?from=now&to=2026-05-01T00:00:00&resolution=7&format=xlsx&zone=1",
            400,
            ["zone", "to", "from", "resolution", "format"],
        ),
        ("/traffic/v1/zones/z-001/history?from=0001-01-01T00:00:00%2B14:00", 400, ["from"]),
        ("/traffic/v1/zones/z-001/history?from=2026-05-01T00:00:00Z&to=2026-05-03T00:00:00Z", 400, ["from"]),
        ("/traffic/v1/zones/z-001/history?resolution=many", 400, ["resolution"]),
    ],
)
def test_what_cannot_be_answered_is_a_problem_that_names_all_of_it(
    local: Watched, path: str, status: int, fields: list[str] | None
) -> None:
    answer = local.client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert [one["field"] for one in answer.json().get("errors", [])] == (fields or [])


def test_an_answer_that_a_client_has_is_not_sent_again_and_others_are_packed(local: Watched) -> None:
    count(local.state, told(NOON))
    local.at(NOON + 12_000)
    for path in ("/traffic/v1/map.geojson", "/traffic", "/traffic/zones/z-001", "/traffic/v1/zones/z-001"):
        plain = local.client.get(path, headers={"Accept-Encoding": "identity"})
        packed = local.client.get(path, headers={"Accept-Encoding": "gzip"})
        assert packed.headers["content-encoding"] == "gzip"
        assert packed.content == plain.content
        assert int(packed.headers["content-length"]) == len(gzip.compress(plain.content, 5, mtime=0))
        again = local.client.get(path, headers={"If-None-Match": f'"x", {plain.headers["etag"]}'})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == plain.headers["etag"]


def test_readers_are_held_to_their_rate(home: Path) -> None:
    client = TestClient(open_api(home, SAID, rate_limit=1, clock=StandingClock()))
    answers = [client.get("/traffic/v1/health").status_code for _ in range(20)]
    assert answers == [200] * 20
    refused = client.get("/traffic")
    assert (refused.status_code, refused.headers["content-type"]) == (429, "application/problem+json")


def test_a_page_runs_its_own_script_alone_and_renews_itself_without_one_too(local: Watched) -> None:
    count(local.state, told(NOON))
    local.at(NOON + 12_000)
    for path in ("/traffic", "/traffic/zones/z-001"):
        answer = local.client.get(path)
        page, policy = answer.text, answer.headers["content-security-policy"]
        for tag in ("style", "script"):
            (text,) = re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", page, re.DOTALL)
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"{tag}-src 'sha256-{digest}'" in policy
        assert re.search(r"\sstyle=|\son[a-z]+=|https?://(?!www\.w3\.org)", page) is None
        assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in page
        still = local.client.get(f"{path}?refresh=off").text
        assert "<script" not in still
        assert "http-equiv" not in still
        assert f'href="{path}"' in still


def test_the_city_page_shows_each_zone_by_letter_and_words_with_local_time(local: Watched) -> None:
    count(local.state, told(NOON, [0, 1, 2]))
    local.at(NOON + 12_000)
    page = local.client.get("/traffic").text
    zones = local.zones()
    for zone, said in zones.items():
        (title,) = re.findall(rf"<title>{zone}: ([^<]*)</title>", page)
        letter = said["service"]
        assert title.startswith(f"{letter}, " if letter else "nothing heard")
        assert page.count(f'href="/traffic/zones/{zone}"') >= 2
    assert re.search(r"13:26:52 (PDT|MST)", page)
    assert "Newest reading 3 s old" in page
    assert page.count('tabindex="-1"') == 4, "a keyboard need not pass through all of the map: the list has its zones"
    assert re.findall(r'aria-label="Map of 4 zones by level of service: [^"]*1 without data"', page)


def test_the_zone_page_draws_its_hour_and_lists_its_sensors(local: Watched) -> None:
    for minute in (50, 40, 39, 1, 0):
        count(local.state, told(NOON - minute * 60_000))
    local.at(NOON + 12_000)
    page = local.client.get("/traffic/zones/z-001").text
    assert page.count('<polyline class="speed"') == 2, "where nothing was heard the line is broken"
    assert page.count("<circle cx") == 1
    assert "Mean speed by the minute" in page
    for number in REGISTRY.number[REGISTRY.sensors(1)].tolist():
        assert sensor_id(number) in page
    said = re.search(r'<details id="sensors"><summary>(\d+) of (\d+) sensors', page)
    assert said
    assert 0 < int(said[1]) <= int(said[2]) == len(REGISTRY.number[REGISTRY.sensors(1)])
    missing = local.client.get("/traffic/zones/%3Cb%3E")
    assert (missing.status_code, "<b>" in missing.text) == (404, False)


def test_the_description_covers_traffic(local: Watched) -> None:
    described = local.json("/v1/openapi.json")
    paths = {path for path in described["paths"] if path.startswith("/traffic")}
    assert paths == {
        "/traffic/v1/map.geojson",
        "/traffic/v1/zones/{zone}",
        "/traffic/v1/zones/{zone}/history",
        "/traffic/v1/sensors/{sensor}",
        "/traffic/v1/health",
    }
    assert json.dumps(described).count("#/components/schemas/TrafficMap") == 1
