"""How many readings a second go from sensors through a real broker over TLS into the stream, and what each part costs.

    uv run python benchmarks/traffic_gateway.py --broker amqtt --broker mosquitto --seconds 10

Everything as in a city: `city-platform traffic gateway` and `traffic simulate` are processes of their own, messages
have QoS 1, the stream is this machine's file, whose puts survive a power cut. Frames are asked for at the rate of the
whole city, single messages at `--messages` a second. Then the same file of frames put into the stream by itself,
which is the limit of what a gateway can do here.
"""

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from city_platform.local.traffic_stream import SqliteEventStream
from city_platform.traffic.fleet import Fleet, by_zone
from city_platform.traffic.frames import encode_columns
from city_platform.traffic.registry import generate
from city_platform.traffic.roads import generate_roads
from city_platform.traffic.stream import Entry

COMMAND = [sys.executable, "-c", "from city_platform.cli import main; main()", "traffic"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", action="append", choices=["amqtt", "mosquitto"])
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rate", type=int, default=50_000, help="readings a second, as frames")
    parser.add_argument("--messages", type=int, default=5_000, help="readings a second, as single messages; 0: none")
    asked = parser.parse_args()
    alone = stream_alone(asked.rate)
    print(f"{'the stream by itself':32}{alone:>12,.0f} readings/s")
    print(f"{'':32}{'asked':>12}{'reached':>12}{'of the stream':>15}{'p50 ms':>9}{'p99 ms':>9}{'us CPU a message':>18}")
    for broker in asked.broker or ["amqtt"]:
        for shape, rate in (("frames", asked.rate), ("messages", asked.messages)):
            if not rate:
                continue
            told, cpu_s = run(broker, shape, rate, asked.seconds)
            cost = 1e6 * cpu_s / max(1, told["acknowledged"])
            reached = told["readings_a_second"]
            print(
                f"{broker + ', ' + shape:32}{rate:>12,}{reached:>12,.0f}{reached / alone:>15.3f}{told['p50_ms']:>9}"
                f"{told['p99_ms']:>9}{cost:>18.0f}"
            )


def run(broker: str, shape: str, rate: int, seconds: int) -> tuple[dict[str, float], float]:
    """What the simulator was told, and the processor seconds of gateway and broker."""
    with tempfile.TemporaryDirectory() as home:
        gateway = subprocess.Popen(
            [*COMMAND, "gateway", "--broker", broker, "--port", "0", "--home", home, "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert gateway.stderr is not None
            found = re.search(r"127\.0\.0\.1:(\d+)", gateway.stderr.readline())
            assert found, gateway.stderr.read()
            options = ["--port", found[1], "--home", home, "--rate", str(rate), "--for", f"{seconds}s", "--as", shape]
            done = subprocess.run([*COMMAND, "simulate", *options, "--json"], stdout=subprocess.PIPE, check=False)
            simulated = resource.getrusage(resource.RUSAGE_CHILDREN)
            told = json.loads(done.stdout)
            gateway.terminate()
            assert gateway.stdout is not None
            served = json.loads(gateway.stdout.read())
            gateway.wait(60)
        finally:
            if gateway.poll() is None:
                gateway.kill()
                gateway.wait()
        assert served["acknowledged"] == told["acknowledged"], (served, told)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return told, after.ru_utime + after.ru_stime - simulated.ru_utime - simulated.ru_stime


def stream_alone(rate: int, puts: int = 10) -> float:
    """Readings a second that the stream takes as frames, where nothing else is to be done."""
    registry = generate()
    readings = Fleet(generate_roads(registry), rate, rate).measured(int(time.time()))
    entries = [
        Entry(registry.zones[zone], encode_columns(registry.zones[zone], own, registry.number))
        for zone, own in by_zone(readings)
    ]
    with tempfile.TemporaryDirectory() as folder:
        stream = SqliteEventStream(Path(folder) / "stream.sqlite")
        began = time.perf_counter()
        for _ in range(puts):
            for start in range(0, len(entries), 500):
                stream.put(entries[start : start + 500])
        return puts * len(readings) / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
