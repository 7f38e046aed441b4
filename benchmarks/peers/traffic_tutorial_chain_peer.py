"""The consumer of AWS's tutorials on a local stream: one reading a record, an atomic ADD for each.

    python benchmarks/peers/traffic_tutorial_chain_peer.py STREAM.sqlite SUMS.sqlite

It reads batches of a hundred records, as Lambda does where nothing else is said, adds each record to its zone's window
in a commit of its own, as each is a request of its own to DynamoDB, and then takes note of how far it is. It ends where
the stream has nothing more for a second, or with SIGTERM, after the batch; killed, it begins again with its last batch.
"""

import json
import signal
import sqlite3
import sys
import time
from decimal import Decimal
from pathlib import Path

from city_platform.local.traffic_stream import SqliteEventStream

READER = "tutorial"
BATCH = 100
ADD = (
    "INSERT INTO window VALUES (?, ?, 1, ?) ON CONFLICT DO UPDATE SET "
    "readings = readings + 1, vehicles = vehicles + excluded.vehicles"
)


def main(stream_file: Path, sums_file: Path) -> None:
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
    stream = SqliteEventStream(stream_file)
    sums = sqlite3.connect(sums_file, isolation_level=None)
    sums.execute("PRAGMA journal_mode = WAL")
    sums.execute("PRAGMA synchronous = FULL")
    sums.execute(
        "CREATE TABLE IF NOT EXISTS window (zone TEXT, start_ms INTEGER, readings INTEGER, vehicles INTEGER, "
        "PRIMARY KEY (zone, start_ms)) WITHOUT ROWID"
    )
    done, idle_since = 0, time.monotonic()
    while not asked and time.monotonic() - idle_since < 1.0:
        for shard in stream.shards():
            records = stream.read(shard, stream.checkpoint(READER, shard), BATCH)
            for record in records:
                reading = json.loads(record.data, parse_float=Decimal)
                start = reading["ts"] // 10_000 * 10_000
                sums.execute(ADD, (reading["zone_id"], start, reading["vehicle_count"]))
            if records:
                stream.dealt_with(READER, shard, records[-1].sequence)
                done, idle_since = done + len(records), time.monotonic()
    print(json.dumps({"records": done, "cpu": time.process_time()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
