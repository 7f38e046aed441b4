"""A batch's metrics as CloudWatch reads them: a parser of the embedded metric format, and what it finds."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from city_platform.traffic.handler import LATENCY_BUCKET_MS, Outcome, TrafficHandler
from city_platform.traffic.metrics import NAMESPACE, Batch, document, percentiles
from city_platform.traffic.telemetry import Reason
from tests.traffic import NOON, TOWN, Letters, MemoryState, Told, columns, event, lines, record

# As the API reference of MetricDatum has them.
UNITS = {
    "Seconds", "Microseconds", "Milliseconds", "Bytes", "Kilobytes", "Megabytes", "Gigabytes", "Terabytes", "Bits",
    "Kilobits", "Megabits", "Gigabits", "Terabits", "Percent", "Count", "Bytes/Second", "Kilobytes/Second",
    "Megabytes/Second", "Gigabytes/Second", "Terabytes/Second", "Bits/Second", "Kilobits/Second", "Megabits/Second",
    "Gigabits/Second", "Terabits/Second", "Count/Second", "None",
}  # fmt: skip


@dataclass(frozen=True)
class Metric:
    unit: str
    values: list[float]
    dimensions: list[dict[str, str]]


def parsed(line: bytes) -> dict[str, Metric]:
    """What CloudWatch makes of a line of a log, by the specification; AssertionError where it would drop any of it."""
    assert b"\n" not in line
    assert len(line) < 256 * 1024
    root = json.loads(line)
    metadata = root["_aws"]
    assert metadata.keys() == {"Timestamp", "CloudWatchMetrics"}
    assert isinstance(metadata["Timestamp"], int)
    found: dict[str, Metric] = {}
    for directive in metadata["CloudWatchMetrics"]:
        assert directive.keys() == {"Namespace", "Dimensions", "Metrics"}
        assert directive["Namespace"] == NAMESPACE
        assert 1 <= len(directive["Metrics"]) <= 100
        sets = [{name: root[name] for name in names} for names in directive["Dimensions"]]
        for dimensions in sets:
            assert len(dimensions) <= 30
            assert all(isinstance(value, str) and 1 <= len(value) <= 1024 for value in dimensions.values())
        for definition in directive["Metrics"]:
            assert definition.keys() <= {"Name", "Unit", "StorageResolution"}
            name, target = definition["Name"], root[definition["Name"]]
            values = target if isinstance(target, list) else [target]
            assert 1 <= len(name) <= 1024
            assert definition["Unit"] in UNITS
            assert 1 <= len(values) <= 100
            assert all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
            assert name not in found
            found[name] = Metric(definition["Unit"], values, sets)
    return found


def told(*records: dict[str, Any], now: int = NOON + 3_000, handler: TrafficHandler | None = None) -> dict[str, Metric]:
    handler = handler or TrafficHandler(TOWN, MemoryState(), Letters(), lambda: now)
    batch = event(*records)
    outcome = handler.handle(batch)
    return parsed(document(Batch(batch, now - 500, now, handler.coverage(now)), outcome))


def test_a_batch_is_told_with_names_units_and_dimensions() -> None:
    some = [Told(0, 100 + at, NOON + at * 10, at) for at in range(40)]
    found = told(
        record(lines(some), 1, NOON + 1_000) | {"eventSourceARN": "arn:aws:kinesis:r:1:stream/readings"},
        record(columns(some[:5]), 2, NOON + 2_000),
        record(b"rubbish", 3, NOON + 1_500),
        record(columns(some[:2], speed_x10=[9000, 9000]), 4, NOON + 1_500),
    )
    values = {name: (metric.unit, metric.values) for name, metric in found.items()}
    assert {name: one for name, one in values.items() if not name.startswith("EndToEnd")} == {
        "Records": ("Count", [4]),
        "Accepted": ("Count", [40]),
        "Duplicates": ("Count", [5]),
        "Late": ("Count", [0]),
        "LateDropped": ("Count", [0]),
        "Rejected": ("Count", [3]),
        "Rejected.schema": ("Count", [1]),
        "Rejected.speed": ("Count", [2]),
        "WindowsWritten": ("Count", [1]),
        "Conflicts": ("Count", [0]),
        "BatchItemFailures": ("Count", [0]),
        "IteratorAge": ("Milliseconds", [500]),
    }
    assert values["EndToEndLatencyP50"] == ("Milliseconds", [2_900])
    assert values["EndToEndLatencyP99"] == ("Milliseconds", [3_100])
    assert len(values["EndToEndLatency"][1]) == 40
    assert {str(metric.dimensions) for metric in found.values()} == {"[{'Stream': 'readings'}]"}


def test_coverage_is_of_the_last_closed_window_and_of_zones_heard_lately() -> None:
    handler = TrafficHandler(TOWN, MemoryState(), Letters(), lambda: NOON + 35_000)
    zone = TOWN.sensors(0)
    expected = sum(min(1.0, 10 / interval) for interval in TOWN.interval_s[zone].tolist())
    spoke = [Told(sensor, 100 + turn, NOON + turn * 10_000, 5) for turn in (0, 1) for sensor in range(zone.stop)]
    batch = record(lines(spoke), 1, NOON + 15_000)
    assert "Coverage" not in told(batch, now=NOON + 19_999, handler=handler)  # no window has closed
    assert told(batch, now=NOON + 20_000, handler=handler)["Coverage"].values == [100.0]
    assert told(batch, now=NOON + 30_000, handler=handler)["Coverage"].unit == "Percent"
    one = record(lines([Told(0, 102, NOON + 20_000, 5)]), 2, NOON + 25_000)
    (share,) = told(one, now=NOON + 40_000, handler=handler)["Coverage"].values
    assert share == pytest.approx(100 / expected, abs=0.01)


def test_what_an_event_does_not_say_is_not_made_up() -> None:
    found = told(record(b"rubbish", 1, approximateArrivalTimestamp=None))
    assert "IteratorAge" not in found
    assert "EndToEndLatency" not in found
    assert found["Rejected.encoding"].values == [1]
    assert found["Records"].dimensions == [{"Stream": "unknown"}]


def test_every_reason_at_once_is_within_the_limits() -> None:
    outcome = Outcome(records=1, rejected=dict.fromkeys(Reason, 7))
    outcome.latency += 10**9
    found = parsed(document(Batch(event(record(b"x")), NOON, NOON, 1.0), outcome))
    assert len(found) == 14 + len(Reason) + 1
    assert len(found["EndToEndLatency"].values) == 100
    assert found["Rejected"].values == [7 * len(Reason)]


@given(st.lists(st.integers(0, 59_000), min_size=1, max_size=300), st.sampled_from([0.01, 0.5, 0.95, 0.99, 1.0]))
def test_percentiles_are_the_nearest_ranks_bucket_end(waits: list[int], share: float) -> None:
    latency = np.bincount(np.array(waits) // LATENCY_BUCKET_MS, minlength=600)
    (found,) = percentiles(latency, np.array([share]))
    rank = sorted(waits)[max(0, int(np.ceil(share * len(waits))) - 1)]
    assert found == (rank // LATENCY_BUCKET_MS + 1) * LATENCY_BUCKET_MS
