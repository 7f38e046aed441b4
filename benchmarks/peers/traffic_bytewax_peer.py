"""Zones' windows of ten seconds in Bytewax: python benchmarks/peers/traffic_bytewax_peer.py READINGS_FOLDER"""

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
from bytewax.connectors.files import FileSource
from bytewax.dataflow import Dataflow
from bytewax.operators import windowing
from bytewax.operators.windowing import EventClock, TumblingWindower
from bytewax.testing import TestingSink, run_main

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Sums = tuple[int, int, float, float]


def _keyed(line: str) -> tuple[str, dict[str, Any]]:
    reading = json.loads(line)
    return reading["zone_id"], reading


def _add(sums: Sums, reading: dict[str, Any]) -> Sums:
    vehicles = reading["vehicle_count"]
    speed = reading["avg_speed_kmh"] or 0.0
    return sums[0] + 1, sums[1] + vehicles, sums[2] + vehicles * speed, sums[3] + reading["congestion_index"]


def _merge(one: Sums, other: Sums) -> Sums:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3]


def main() -> None:
    (file,) = Path(sys.argv[1]).iterdir()
    found: list[tuple[str, tuple[int, Sums]]] = []
    flow = Dataflow("traffic")
    readings = op.map("parse", op.input("lines", flow, FileSource(file)), _keyed)
    clock = EventClock(lambda one: EPOCH + timedelta(milliseconds=one["ts"]), timedelta(seconds=60))
    windower = TumblingWindower(length=timedelta(seconds=10), align_to=EPOCH)
    folded = windowing.fold_window("sum", readings, clock, windower, lambda: (0, 0, 0.0, 0.0), _add, _merge)
    op.output("out", folded.down, TestingSink(found))
    run_main(flow)
    readings_count = sum(sums[0] for _, (_, sums) in found)
    print(json.dumps({"readings": readings_count, "vehicles": sum(sums[1] for _, (_, sums) in found)}))


if __name__ == "__main__":
    main()
