"""The Lambda function behind the traffic stream. What it needs to know it reads from the environment, at its start."""

import os
import sys
import time
from collections.abc import Mapping
from functools import cache
from typing import Any

from city_platform.aws.dead_letters import S3Letters
from city_platform.aws.settings import BUCKETS, TRAFFIC_TABLE, IncompleteSettings
from city_platform.aws.traffic_state import DynamoTrafficState
from city_platform.lake.zones import zone_of
from city_platform.traffic.dead_letters import PREFIX, StoredDeadLetters
from city_platform.traffic.handler import TrafficHandler
from city_platform.traffic.metrics import Batch, document
from city_platform.traffic.registry import registry_of

BUCKET = BUCKETS[zone_of(f"{PREFIX}/")]


def handler(event: Mapping[str, Any], context: object) -> dict[str, list[dict[str, str]]]:  # noqa: ARG001 Lambda gives it
    """Takes a batch of the stream and says from which record on it has to come again; its metrics go to the log."""
    read_ms = _now_ms()
    traffic = traffic_handler()
    outcome = traffic.handle(event)
    now = _now_ms()
    sys.stdout.write(document(Batch(event, read_ms, now, traffic.coverage(now)), outcome).decode() + "\n")
    sys.stdout.flush()
    return outcome.response()


@cache
def traffic_handler() -> TrafficHandler:
    """This process's handler, whose windows stay warm between batches. Raises IncompleteSettings."""
    needed = {
        TRAFFIC_TABLE: "the DynamoDB table of the traffic state",
        BUCKET: "the bucket that keeps what was refused",
    }
    missing = [f"{name} ({what})" for name, what in needed.items() if not os.environ.get(name)]
    try:
        registry = registry_of(os.environ)
    except ValueError as error:
        missing.append(str(error))
    if missing:
        raise IncompleteSettings(f"the traffic function needs in its environment: {', '.join(missing)}")
    letters = StoredDeadLetters(S3Letters(os.environ[BUCKET]))
    return TrafficHandler(registry, DynamoTrafficState(os.environ[TRAFFIC_TABLE]), letters, _now_ms)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
