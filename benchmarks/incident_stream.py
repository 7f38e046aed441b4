"""How fast changes of incidents become rows, beside boto3's own decoder of DynamoDB's JSON, in one run.

    uv run --no-sync python benchmarks/incident_stream.py --records 20000

The decoder turns both images of a record into Python values, as any handler does first. Ours picks the row's columns,
checks and types them, and replaces the reporter by a pseudonym. CPU seconds, the best of several rounds in turn.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from boto3.dynamodb.types import TypeDeserializer

sys.path.insert(0, str(Path(__file__).parents[1]))

from city_platform.aws.incidents import DynamoDBIncidentRepository, IncidentTables
from city_platform.incidents.export import _csv, _parquet
from city_platform.incidents.model import Severity, Status
from city_platform.incidents.stream import flat_row
from city_platform.local.clock import SystemClock
from city_platform.protection.masking import pseudonymizer
from tests.incident_stream import following, record
from tests.incidents import NOW, change, incident

DESCRIPTION = (
    "A deep hole opened beside the storm drain after the rain of last week; bicycles swerve into traffic. " * 3
)


def records(count: int) -> list[dict[str, Any]]:
    """Changes of status with both images, each of another incident and reporter, parsed from JSON as Lambda does."""
    table = DynamoDBIncidentRepository(IncidentTables("benchmark"), SystemClock())
    found = []
    for number in range(count):
        before = incident(
            number / 10,
            description=DESCRIPTION,
            reported_by=f"4f1c9a52-6a0e-4b53-{number:016d}",
            attributes={"depth_cm": 12, "lane": "kerb", "items": ("bags", "other")},
            expected_at=NOW,
            severity=Severity.HIGH,
        )
        after = following(before, status=Status.ACKNOWLEDGED, assigned_to="crew 7")
        told = record(after, before, number + 1)
        # The images as the table has them, with the keys of its indexes.
        images = zip(("OldImage", "NewImage"), (before, after), strict=True)
        told["dynamodb"] |= {name: next(table._puts(change(one)))["Item"] for name, one in images}  # noqa: SLF001 -- the very image
        found.append(told)
    loaded: list[dict[str, Any]] = json.loads(json.dumps(found))
    return loaded


def seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--records", type=int, default=20_000)
    options.add_argument("--rounds", type=int, default=5)
    asked = options.parse_args()
    some = records(asked.records)
    general = TypeDeserializer().deserialize
    pseudonym = pseudonymizer(b"k" * 32, "incidents/reporter")

    def decode() -> None:
        for one in some:
            for image in ("OldImage", "NewImage"):
                _ = {name: general(value) for name, value in one["dynamodb"][image].items()}

    rows = [flat_row(one, pseudonym) for one in some]
    ways: dict[str, Callable[[], object]] = {
        "boto3 TypeDeserializer, both images": decode,
        "flat row": lambda: [flat_row(one, pseudonym) for one in some],
        "row to CSV": lambda: _csv(rows),
        "row to Parquet": lambda: _parquet(rows),
    }
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(asked.rounds):
        for name, way in ways.items():
            best[name] = min(best[name], seconds(way))
    peer = best["boto3 TypeDeserializer, both images"]
    for name, took in best.items():
        speed, each = asked.records / took, took / asked.records * 1e6
        print(f"{name:<36} {speed:>10,.0f} records/s  {each:6.1f} µs  {peer / took:5.1f}x")


if __name__ == "__main__":
    main()
