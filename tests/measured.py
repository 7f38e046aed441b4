"""Every metric that the code sends, with its dimensions: heard from the code itself, given all there is to measure."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np

from city_platform.governance.audit import Head
from city_platform.governance.metrics import (
    DATA,
    RUNS,
    Freshness,
    RunFacts,
    RunOutcome,
    data_measurements,
    progress_measurements,
    replication_measurements,
    run_measurements,
)
from city_platform.governance.scorecard import scorecard
from city_platform.lake.replica import lag
from city_platform.ports import Measurement
from city_platform.traffic.handler import Outcome
from city_platform.traffic.metrics import NAMESPACE as TRAFFIC
from city_platform.traffic.metrics import Batch, document
from city_platform.traffic.telemetry import Reason
from tests.unit.test_scorecard import FAIL, OTHER, state
from tests.verdicts import NOW

Metrics = Mapping[str, frozenset[frozenset[str]]]
AT = datetime(2026, 11, 27, 6, tzinfo=UTC)


@cache
def measured() -> Mapping[str, Metrics]:
    """Namespace -> metric -> its sets of dimensions. That of sizes on this machine is S3's own on AWS."""
    run = RunFacts("job", RunOutcome.SUCCEEDED, AT, 1.0, 0, 1, 1, 0, [("raw", 1.0)], [("raw", 1)])
    card = scorecard(NOW, [state("2024", (FAIL, OTHER))], Head(0, ""), ())
    ages = [Freshness("business_licences", timedelta(hours=1), timedelta(hours=36))]
    return {
        RUNS: _sets([*run_measurements(run), *progress_measurements([], AT)]),
        DATA: _sets([*data_measurements(card, ages, None), *replication_measurements(lag([], AT), AT)]),
        TRAFFIC: _of_traffic(),
    }


def _sets(measurements: Iterable[Measurement]) -> Metrics:
    found: dict[str, set[frozenset[str]]] = {}
    for one in measurements:
        found.setdefault(one.name, set()).add(frozenset({"Environment", *one.dimensions}))
    return {name: frozenset(sets) for name, sets in found.items()}


def _of_traffic() -> Metrics:
    outcome = Outcome(records=1, rejected=dict.fromkeys(Reason, 1))
    outcome.latency += np.ones_like(outcome.latency)
    record = {"kinesis": {"approximateArrivalTimestamp": 1.0}, "eventID": "shardId-0:1", "eventSourceARN": "a:stream/s"}
    said = json.loads(document(Batch({"Records": [record]}, 2000, 3000, 1.0), outcome))
    (directive,) = said["_aws"]["CloudWatchMetrics"]
    dimensions = frozenset(frozenset(names) for names in directive["Dimensions"])
    return {one["Name"]: dimensions for one in directive["Metrics"]}
