"""How many readings a second go from sensors through a real broker over TLS into the stream, and what each part costs.

    uv run python benchmarks/traffic_gateway.py --broker amqtt --broker mosquitto --seconds 10

Everything as in a city: `city-platform traffic gateway` and `traffic simulate` are processes of their own, messages
have QoS 1, the stream is this machine's file, whose puts survive a power cut. Frames are asked for at the rate of a
whole city, single messages at `--messages` a second. A message's processor time is split into gateway and broker
(amqtt's is the gateway's). The limit is the stream by itself: the same frames put into it by a loop.
"""

import argparse
import json
import os
import re
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
    parser.add_argument("--rate", type=int, default=50_000, help="readings a second, as frames; 0: none")
    parser.add_argument("--messages", type=int, default=5_000, help="readings a second, as single messages; 0: none")
    asked = parser.parse_args()
    alone = stream_alone(50_000)
    print(f"the stream by itself, frames: {alone:,.0f} readings a CPU second\n")
    names = (
        "asked/s",
        "reached/s",
        "messages/s",
        "p50 ms",
        "p99 ms",
        "gateway us",
        "broker us",
        "readings/CPU s",
        "share",
    )
    print(f"{'':22}" + "".join(f"{name:>15}" for name in names))
    for broker in asked.broker or ["amqtt"]:
        for shape, rate in (("frames", asked.rate), ("messages", asked.messages)):
            if rate:
                told, gateway_s, broker_s = run(broker, shape, rate, asked.seconds)
                sent = max(1, told["acknowledged"])
                each = told["acknowledged_readings"] / max(gateway_s + broker_s, 0.01)
                row = (
                    f"{rate:,}", f"{told['readings_a_second']:,.0f}", f"{sent / told['seconds']:,.0f}", told["p50_ms"],
                    told["p99_ms"], f"{1e6 * gateway_s / sent:.0f}", f"{1e6 * broker_s / sent:.0f}", f"{each:,.0f}",
                    f"{each / alone:.4f}",
                )  # fmt: skip
                print(f"{broker + ', ' + shape:22}" + "".join(f"{value:>15}" for value in row), flush=True)


def run(broker: str, shape: str, rate: int, seconds: int) -> tuple[dict[str, float], float, float]:
    """What the simulator was told, and the processor seconds of the gateway and of a broker of its own."""
    with tempfile.TemporaryDirectory() as home:
        gateway = subprocess.Popen(
            [*COMMAND, "gateway", "--broker", broker, "--port", "0", "--home", home, "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert gateway.stderr is not None
            assert gateway.stdout is not None
            found = re.search(r"127\.0\.0\.1:(\d+)", gateway.stderr.readline())
            assert found, gateway.stderr.read()
            before = cpu_s(gateway.pid), cpu_s(child(gateway.pid))
            options = ["--port", found[1], "--home", home, "--rate", str(rate), "--for", f"{seconds}s", "--as", shape]
            done = subprocess.run([*COMMAND, "simulate", *options, "--json"], stdout=subprocess.PIPE, check=False)
            after = cpu_s(gateway.pid), cpu_s(child(gateway.pid))
            told = json.loads(done.stdout)
            gateway.terminate()
            served = json.loads(gateway.stdout.read())
            gateway.wait(60)
        finally:
            if gateway.poll() is None:
                gateway.kill()
                gateway.wait()
    assert served["acknowledged"] == told["acknowledged"] == told["messages"], (served, told)
    return told, after[0] - before[0], after[1] - before[1]


def child(pid: int) -> int | None:
    """The process's first child; None: it has none."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else None


def cpu_s(pid: int | None) -> float:
    """The processor seconds of a process so far, its threads included, as Linux counts them."""
    if pid is None:
        return 0.0
    values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")


def stream_alone(rate: int, puts: int = 10) -> float:
    """Readings a processor second that the stream takes as frames, where nothing else is to be done."""
    registry = generate()
    readings = Fleet(generate_roads(registry), rate, rate).measured(int(time.time()))
    entries = [
        Entry(registry.zones[zone], encode_columns(registry.zones[zone], own, registry.number))
        for zone, own in by_zone(readings)
    ]
    with tempfile.TemporaryDirectory() as folder:
        stream = SqliteEventStream(Path(folder) / "stream.sqlite")
        began = time.process_time()
        for _ in range(puts):
            for start in range(0, len(entries), 500):
                stream.put(entries[start : start + 500])
        return puts * len(readings) / (time.process_time() - began)


if __name__ == "__main__":
    main()
