"""Judges the minutes of traffic that are due, called by a schedule each minute; what it tells waits in the outbox."""

import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache

from city_platform.aws.settings import TRAFFIC_TABLE, IncompleteSettings
from city_platform.aws.traffic_state import DynamoTrafficState
from city_platform.traffic.cost import SHARDS_AT_LEAST
from city_platform.traffic.registry import registry_of
from city_platform.traffic.roads import generate_roads
from city_platform.traffic.telling import Teller, zone_pages
from city_platform.traffic.watch import Watch

PUBLIC_URL = "CITY_PLATFORM_PUBLIC_URL"  # where readers find the platform's pages


def handler(event: object, context: object) -> Mapping[str, int]:  # noqa: ARG001 Lambda gives both
    """What was judged and told. An error is the schedule's to try again: nothing is judged or told twice."""
    return asdict(watch().evaluate())


@cache
def watch() -> Watch:
    """This process's watcher, which remembers the newest minute. Raises IncompleteSettings."""
    missing = [] if os.environ.get(TRAFFIC_TABLE) else [f"{TRAFFIC_TABLE} (the DynamoDB table of the traffic state)"]
    try:
        registry = registry_of(os.environ)
    except ValueError as error:
        missing.append(str(error))
    if missing:
        raise IncompleteSettings(f"the traffic watcher needs in its environment: {', '.join(missing)}")
    teller = Teller(zone_pages(os.environ.get(PUBLIC_URL)), SHARDS_AT_LEAST)
    state = DynamoTrafficState(os.environ[TRAFFIC_TABLE])
    return Watch(registry, state, generate_roads(registry).free_flow_x10, teller, lambda: time.time_ns() // 1_000_000)
