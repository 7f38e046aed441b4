"""The live map of the whole registry: from SQLite to an answer, and answers from memory, against the rows read bare.

    uv run python benchmarks/traffic_map.py

500 zones and 50,000 sensors of one window lie in a state as the handler stored them. What one read of the map costs,
part by part, is compared with fetching the same rows with the sqlite3 module alone; answers a second come from the API
as `city-platform serve` runs it, over one connection that is kept. The best of several rounds in turn.
"""

import argparse
import http.client
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from city_platform.api.traffic import documents
from city_platform.api.traffic.live import Answer, Live
from city_platform.api.traffic.pages import city_page
from city_platform.deployment.incidents import open_reference
from city_platform.local.clock import SystemClock
from city_platform.local.traffic_state import SqliteTrafficState
from city_platform.traffic.heat_map import Newest
from city_platform.traffic.registry import Registry, generate
from city_platform.traffic.roads import generate_roads
from city_platform.traffic.state import WINDOW_MS
from city_platform.traffic.telemetry import MISSING, Readings
from city_platform.traffic.windows import CityWindow, FirstOfEach, cells
from tests.served import served

REGISTRY = generate()
ROADS = generate_roads(REGISTRY)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, help="of each part; the best counts")
    parser.add_argument("--seconds", type=float, default=3.0, help="of asking the API")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        state = SqliteTrafficState(home / "traffic" / "state.sqlite", durable=False)
        start = int(time.time() * 1000) // WINDOW_MS * WINDOW_MS - WINDOW_MS
        fill(state, REGISTRY, start)
        parts(state, start, options.rounds)
        answers(home, state, options.seconds)


def fill(state: SqliteTrafficState, registry: Registry, start_ms: int) -> None:
    """One window in which every sensor was heard once."""
    draw = np.random.default_rng(1)
    count = len(registry)
    vehicles = draw.poisson(3, count)
    same = np.ones(count, dtype=np.int64)
    ts = start_ms + draw.integers(0, WINDOW_MS, count)
    readings = Readings(
        sensor=np.arange(count, dtype=np.int32), zone=registry.zone, seq=ts // 1000, ts_ms=ts, interval_s=same,
        vehicle_count=vehicles,
        speed_x10=np.where(vehicles > 0, np.clip(draw.normal(350, 120, count), 10, 1500).astype(np.int64), MISSING),
        occupancy_x1000=same, index_x1000=same, arrival_ms=same, record=same, row=same,
    )  # fmt: skip
    city = CityWindow(registry, start_ms)
    city.count(readings, FirstOfEach(cells(registry)))
    zones = range(len(registry.zones))
    assert set(state.put(city.stored(zones, (), start_ms))) == {None}


def parts(state: SqliteTrafficState, start: int, rounds: int) -> None:
    """What a read of the map is made of, in milliseconds."""
    bare = sqlite3.connect(state.path)
    clock = SystemClock()
    live = Live(lambda: REGISTRY, lambda: state, clock)
    city = live.city()
    assert len(city.zones) == len(REGISTRY.zones)
    newest = [Newest(ROADS) for _ in range(rounds)]
    reference = open_reference()
    body = msgspec.json.encode(documents.map_of(city))
    page = city_page(city, reference, still=False).encode()
    now = start + WINDOW_MS + 100
    took = fastest(
        rounds,
        {
            "the rows with sqlite3 alone": lambda _: bare.execute(
                "SELECT * FROM window WHERE start_ms = ?", (start,)
            ).fetchall(),
            "the rows as the state gives them": lambda _: state.city(start),
            "read and remembered, with each zone's newest reading": lambda turn: newest[turn].read(state, now),
            "a row for each zone": lambda turn: newest[turn].zones(),
            "GeoJSON": lambda _: msgspec.json.encode(documents.map_of(city)),
            "GeoJSON packed and named": lambda _: Answer.of(body),
            "the page": lambda _: city_page(city, reference, still=False),
            "the page packed and named": lambda _: Answer.of(page),
        },
    )
    least = took["the rows with sqlite3 alone"]
    for name, seconds in took.items():
        print(f"{name:55} {seconds * 1000:7.2f} ms {seconds / least:6.1f}x")
    print(f"GeoJSON {len(body):,} bytes, packed {len(Answer.of(body).packed):,}")
    print(f"page {len(page):,} bytes, packed {len(Answer.of(page).packed):,}")


def fastest(rounds: int, ways: dict[str, Callable[[int], object]]) -> dict[str, float]:
    """The least seconds of each way; all in turn, so that a busy moment meets all of them."""
    took: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds):
        for name, way in ways.items():
            began = time.perf_counter()
            way(turn)
            took[name].append(time.perf_counter() - began)
    return {name: min(found) for name, found in took.items()}


def answers(home: Path, state: SqliteTrafficState, seconds: float) -> None:
    """Answers a second over one connection, and how often the rows could be read bare in that time."""
    with served(home) as api:
        connection = http.client.HTTPConnection(api.address.removeprefix("http://"))
        for path, headers in (
            ("/traffic/v1/map.geojson", {"Accept-Encoding": "gzip"}),
            ("/traffic/v1/map.geojson", {}),
            ("/traffic", {"Accept-Encoding": "gzip"}),
            ("/traffic/v1/health", {}),
        ):
            took: list[float] = []
            until = time.perf_counter() + seconds
            while (began := time.perf_counter()) < until:
                connection.request("GET", path, headers=headers)
                answer = connection.getresponse()
                assert answer.status == 200, answer.status
                answer.read()
                took.append(time.perf_counter() - began)
            took.sort()
            packed = "packed" if headers else "plain"
            print(
                f"{path} {packed}: {len(took) / seconds:,.0f} answers/s, p50 {statistics.median(took) * 1000:.1f} ms, "
                f"p99 {took[int(len(took) * 0.99)] * 1000:.1f} ms"
            )
        bare = sqlite3.connect(state.path)
        reads, until = 0, time.perf_counter() + seconds
        while time.perf_counter() < until:
            newest = bare.execute("SELECT max(start_ms) FROM window").fetchone()
            bare.execute("SELECT * FROM window WHERE start_ms = ?", newest).fetchall()
            reads += 1
        print(f"the same rows bare, one reader and nothing else: {reads / seconds:,.0f} reads/s")


if __name__ == "__main__":
    main()
