"""The Lambda function behind the traffic stream. What it needs to know it reads from the environment, at its start."""

import os
import time
from collections.abc import Mapping
from functools import cache
from typing import Any

from city_platform.aws.dead_letters import S3Letters
from city_platform.aws.settings import BUCKET, IncompleteSettings
from city_platform.aws.traffic_state import DynamoTrafficState
from city_platform.traffic.dead_letters import StoredDeadLetters
from city_platform.traffic.handler import TrafficHandler
from city_platform.traffic.registry import SEED, generate

TABLE = "CITY_PLATFORM_TRAFFIC_TABLE"
REGISTRY_SEED = "CITY_PLATFORM_TRAFFIC_SEED"


def handler(event: Mapping[str, Any], context: object) -> dict[str, list[dict[str, str]]]:  # noqa: ARG001 Lambda gives it
    """Takes a batch of the stream and says from which record on it has to come again."""
    return traffic_handler().handle(event).response()


@cache
def traffic_handler() -> TrafficHandler:
    """This process's handler, whose windows stay warm between batches. Raises IncompleteSettings."""
    needed = {TABLE: "the DynamoDB table of the traffic state", BUCKET: "the bucket that keeps what was refused"}
    missing = [f"{name} ({what})" for name, what in needed.items() if not os.environ.get(name)]
    seed = os.environ.get(REGISTRY_SEED) or str(SEED)
    if not seed.isdecimal():
        missing.append(f"{REGISTRY_SEED} (a whole number, not {seed!r})")
    if missing:
        raise IncompleteSettings(f"the traffic function needs in its environment: {', '.join(missing)}")
    letters = StoredDeadLetters(S3Letters(os.environ[BUCKET]))
    state = DynamoTrafficState(os.environ[TABLE])
    return TrafficHandler(generate(int(seed)), state, letters, lambda: time.time_ns() // 1_000_000)
