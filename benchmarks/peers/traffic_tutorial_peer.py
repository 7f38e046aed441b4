"""The handler of AWS's tutorials: each record decoded by `json` with Decimal for DynamoDB, an atomic ADD for each.

    python benchmarks/peers/traffic_tutorial_peer.py EVENTS.ndjson [--summed]

An event has one reading a record. Nothing is validated or de-duplicated, and nothing is sent: only what boto3's table
makes of the arguments. With `--summed` it sums in dictionaries instead and makes an item of each zone's window, which
the tutorials do not do: no handler that decodes records one by one is much faster.
"""

import base64
import json
import sys
import time
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from boto3.dynamodb.types import TypeSerializer


def decoded(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """A record's reading, with Decimal for each number that has a point."""
    payload: Mapping[str, Any] = json.loads(
        base64.b64decode(record["kinesis"]["data"]).decode("utf-8"), parse_float=Decimal
    )
    return payload


def added(event: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The request of each record's update: key, expression and values as the client sends them."""
    serializer = TypeSerializer()
    requests = []
    for record in event["Records"]:
        payload = decoded(record)
        key = {"zone": payload["zone_id"], "window": payload["ts"] // 10_000 * 10_000}
        values = {
            ":one": 1,
            ":vehicles": payload["vehicle_count"],
            ":speed": (payload["avg_speed_kmh"] or 0) * payload["vehicle_count"],
            ":index": payload["congestion_index"],
        }
        requests.append(
            {
                "Key": {name: serializer.serialize(value) for name, value in key.items()},
                "UpdateExpression": "ADD readings :one, vehicles :vehicles, speed_sum :speed, index_sum :index",
                "ExpressionAttributeValues": {name: serializer.serialize(value) for name, value in values.items()},
            }
        )
    return requests


def summed(event: Mapping[str, Any], windows: dict[tuple[str, int], dict[str, Any]]) -> list[dict[str, Any]]:
    """Counts an event's records into `windows` and gives the items to write."""
    touched = {}
    for record in event["Records"]:
        payload = decoded(record)
        key = payload["zone_id"], payload["ts"] // 10_000 * 10_000
        window = windows.setdefault(key, {"readings": 0, "vehicles": 0, "speed_sum": Decimal(0), "latest": {}})
        window["readings"] += 1
        window["vehicles"] += payload["vehicle_count"]
        window["speed_sum"] += (payload["avg_speed_kmh"] or 0) * payload["vehicle_count"]
        window["latest"][payload["sensor_id"]] = payload
        touched[key] = window
    serializer = TypeSerializer()
    return [
        {name: serializer.serialize(value) for name, value in {**window, "latest": zone, "window": start}.items()}
        for (zone, start), window in touched.items()
    ]


def main() -> None:
    windows: dict[tuple[str, int], dict[str, Any]] = {}
    texts = Path(sys.argv[1]).read_text().splitlines()
    readings = 0
    began = time.process_time()
    for text in texts:
        event = json.loads(text)
        if "--summed" in sys.argv:
            summed(event, windows)
        else:
            added(event)
        readings += len(event["Records"])
    print(json.dumps({"readings": readings, "cpu": time.process_time() - began}))


if __name__ == "__main__":
    main()
