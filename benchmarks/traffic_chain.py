"""The whole traffic path on one machine, sensors to state, for a minute: exact or not, how late, at what cost.

    uv run python benchmarks/traffic_chain.py --rate 50000 --for 60 --broker mosquitto
    uv run python benchmarks/traffic_chain.py --as messages --rate 10000 --kill 3

`traffic simulate` publishes over MQTT with TLS at QoS 1, `traffic gateway` runs the broker and puts frames into the
stream, `traffic process` takes them to windows; each is a process of its own, as on a city's machine. `--kill` ends the
worker with SIGKILL so many times on the way and starts another. Afterwards the windows must be what the sensors said,
zone by zone and ten seconds by ten seconds, and then once more after everything is read from the oldest record again.
Lateness is from the measurement until it stands in the state, of every reading.

Then, unless `--without-tutorial`, the tutorials' way on the same stream: one reading a record, an atomic ADD for each,
at `--tutorial-rate`; how far it falls behind, and how much it counts too much after one crash.
"""

import argparse
import contextlib
import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from city_platform.deployment.traffic import local_state, local_stream, open_registry
from city_platform.local.traffic_stream import SqliteEventStream
from city_platform.local.traffic_worker import READER
from city_platform.traffic.registry import sensor_id
from city_platform.traffic.state import WINDOW_MS
from city_platform.traffic.stream import MOST_ENTRIES, Entry

COMMAND = [sys.executable, "-m", "city_platform", "traffic"]
TUTORIAL = Path(__file__).parent / "peers" / "traffic_tutorial_chain_peer.py"
DRAIN_S = 120.0
READY_S = 60.0
QUIET_S = 3.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sensors", type=int, default=50_000)
    parser.add_argument("--rate", type=int, default=50_000)
    parser.add_argument("--for", dest="seconds", type=int, default=60)
    parser.add_argument("--as", dest="form", choices=("frames", "messages"), default="frames")
    parser.add_argument("--broker", choices=("amqtt", "mosquitto"), default="amqtt")
    parser.add_argument("--port", type=int, default=18_884, help="where the broker listens")
    parser.add_argument("--kill", type=int, default=0)
    parser.add_argument("--tutorial-rate", type=int, default=10_000)
    parser.add_argument("--without-tutorial", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="traffic-chain-") as folder:
        home = Path(folder) / "home"
        print(f"{options.rate:,} readings a second for {options.seconds} s as {options.form}, broker {options.broker}")
        told = chain(home, options)
        missing = compared(home, told)
        replay = run(["process", "--once", "--replay", "--json", "--home", str(home)])
        again = compared(home, told)
        print(f"read from the oldest record again: {replay['duplicates']:,} readings came before, "
              f"{replay['accepted']:,} did not; {'exact' if not again else f'{again} windows differ'}")  # fmt: skip
    if not options.without_tutorial:
        with tempfile.TemporaryDirectory(prefix="traffic-chain-") as folder:
            tutorial(Path(folder), options.tutorial_rate, min(options.seconds, 20))
    if missing or again:
        sys.exit(1)


def chain(home: Path, options: argparse.Namespace) -> Mapping[str, Any]:
    """Runs it; what the sensors said."""
    truth = home.parent / "truth.json"
    where = ["--home", str(home)]
    port = ["--port", str(options.port)]
    with service(["gateway", "--broker", options.broker, *port, *where], home.parent / "gateway.log") as gateway:
        worker = started(["process", "--json", *where])
        wanted = {"sensors": options.sensors, "rate": options.rate, "as": options.form, "truth": truth}
        told = [word for name, value in wanted.items() for word in (f"--{name}", str(value))]
        fleet = started(["simulate", *told, *port, "--for", f"{options.seconds}s", "--json", *where])
        draw = np.random.default_rng()
        for number in range(options.kill):
            time.sleep(options.seconds / (options.kill + 1) * draw.uniform(0.7, 1.0))
            worker.kill()
            worker.wait()
            worker = started(["process", "--json", *where])
            print(f"killed the worker, {number + 1}", flush=True)
        published = json.loads(fleet.communicate()[0].strip().splitlines()[-1])
        arrived(local_stream(home))  # a broker acknowledges before it has sent everything on
        gateway.terminate()
        gateway.wait()
        behind = drained(local_stream(home))
        worker.terminate()
        counted = json.loads(worker.communicate()[0].strip().splitlines()[-1])
    print(f"published: {json.dumps(published)}")
    print(f"the last worker: {json.dumps(counted)}")
    print(f"{behind:.1f} s later the worker had dealt with all of it")
    lateness(home / "traffic" / "metrics.jsonl")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime
    print(f"CPU of all processes: {cpu:.1f} s, {cpu / options.seconds:.2f} cores")
    said: Mapping[str, Any] = json.loads(truth.read_text())
    return said


def compared(home: Path, told: Mapping[str, Any]) -> int:
    """Says whether the windows hold what the sensors said; how many differ."""
    state = local_state(home)
    expected = {(zone, int(start)): one for zone, windows in told["zones"].items() for start, one in windows.items()}
    starts = range(min(start for _, start in expected), max(start for _, start in expected) + 1, WINDOW_MS)
    found = {window.key: window for start in starts for window in state.city(start)}
    sums = ("readings", "vehicles", "vehicle_speed")
    differ = sum(
        key not in found or any(getattr(found[key], name) != one[name] for name in sums)
        for key, one in expected.items()
    ) + len(found.keys() - expected.keys())
    readings = sum(window.readings for window in found.values())
    vehicles = sum(window.vehicles for window in found.values())
    print(f"{len(expected):,} windows, {readings:,} readings, {vehicles:,} vehicles: "
          f"{'exactly what the sensors said' if not differ else f'{differ} WINDOWS DIFFER'}")  # fmt: skip
    return differ


def lateness(metrics: Path) -> None:
    """Percentiles over all readings, from up to a hundred of each batch, weighted by what it accepted."""
    values: list[float] = []
    weights: list[float] = []
    for line in metrics.read_text().splitlines():
        document = json.loads(line)
        some = document.get("EndToEndLatency", [])
        values += some
        weights += [document["Accepted"] / len(some)] * len(some) if some else []
    order = np.argsort(values)
    below = np.cumsum(np.array(weights)[order])
    p50, p95, p99 = (np.array(values)[order][np.searchsorted(below, share * below[-1])] for share in (0.5, 0.95, 0.99))
    print(f"from measurement to state: p50 {p50 / 1000:.1f} s, p95 {p95 / 1000:.1f} s, p99 {p99 / 1000:.1f} s")


def tutorial(folder: Path, rate: int, seconds: int) -> None:
    """One reading a record at `rate` for `seconds`, an atomic ADD each, one crash."""
    stream = SqliteEventStream(folder / "stream.sqlite")
    sums = folder / "sums.sqlite"
    command = [sys.executable, str(TUTORIAL), str(folder / "stream.sqlite"), str(sums)]
    stream.shards()
    worker = subprocess.Popen(command, stdout=subprocess.PIPE)
    registry, draw = open_registry(), np.random.default_rng(1)
    begun = time.time()
    vehicles = 0
    for second in range(seconds):
        ts = int(begun * 1000) + second * 1000
        for _ in range(0, rate, MOST_ENTRIES):
            entries = []
            for _ in range(MOST_ENTRIES):
                sensor, count = (int(draw.integers(most)) for most in (len(registry), 8))
                vehicles += count
                reading = {
                    "sensor_id": sensor_id(int(registry.number[sensor])),
                    "zone_id": registry.zones[int(registry.zone[sensor])],
                    "ts": ts,
                    "vehicle_count": count,
                }
                entries.append(Entry(reading["sensor_id"], json.dumps(reading).encode()))
            stream.put(entries)
        if second == seconds // 2:
            worker.kill()  # between two of its side effects, as a crash is
            worker.wait()
            worker = subprocess.Popen(command, stdout=subprocess.PIPE)
        time.sleep(max(0.0, begun + second + 1 - time.time()))
    took = time.time() - begun
    (counted,) = sqlite3.connect(sums).execute("SELECT sum(readings) FROM window").fetchone()
    put = seconds * len(range(0, rate, MOST_ENTRIES)) * MOST_ENTRIES
    print(f"\ntutorial: {put:,} readings put in {took:.1f} s, {counted or 0:,} counted by then: "
          f"{(counted or 0) / took:,.0f} a second of {rate:,}")  # fmt: skip
    with contextlib.suppress(subprocess.TimeoutExpired):
        worker.wait(DRAIN_S)
    worker.terminate()
    worker.wait()
    counted, too_many = sqlite3.connect(sums).execute("SELECT sum(readings), sum(vehicles) FROM window").fetchone()
    print(f"tutorial, after {time.time() - begun:.0f} s and one crash: {counted:,} readings counted of {put:,} "
          f"({counted - put:+,}), vehicles {too_many - vehicles:+,}")  # fmt: skip


def arrived(stream: SqliteEventStream) -> None:
    """Waits until nothing has come into the stream, and been dealt with, for QUIET_S."""
    newest: list[str] = []
    since = begun = time.monotonic()
    while time.monotonic() - since < QUIET_S and time.monotonic() - begun < DRAIN_S:
        now = [stream.checkpoint(READER, shard) or "" for shard in stream.shards()]
        waiting = any(stream.read(shard, after or None, 1) for shard, after in zip(stream.shards(), now, strict=True))
        if waiting or now != newest:
            newest, since = now, time.monotonic()
        time.sleep(0.2)


def drained(stream: SqliteEventStream) -> float:
    """Waits until the worker has dealt with all there is; how long that was, in seconds."""
    begun = time.monotonic()
    for shard in stream.shards():
        while stream.read(shard, stream.checkpoint(READER, shard), 1):
            if time.monotonic() - begun > DRAIN_S:
                sys.exit(f"{shard} was not dealt with within {DRAIN_S:.0f} s")
            time.sleep(0.1)
    return time.monotonic() - begun


@contextlib.contextmanager
def service(arguments: Sequence[str], log: Path) -> Iterator["subprocess.Popen[str]"]:
    """A part that says in its first line when it listens."""
    with log.open("w") as errors:
        child = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        until = time.monotonic() + READY_S
        while "listens" not in log.read_text():
            if child.poll() is not None or time.monotonic() > until:
                sys.exit(f"{' '.join(arguments)} did not start:\n{log.read_text()}")
            time.sleep(0.1)
        yield child
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            child.wait(READY_S)


def started(arguments: Sequence[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def run(arguments: Sequence[str]) -> Mapping[str, Any]:
    done = subprocess.run([*COMMAND, *arguments], stdout=subprocess.PIPE, text=True, check=True, env=os.environ)
    told: Mapping[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


if __name__ == "__main__":
    main()
