"""What became of a batch as one document of CloudWatch's embedded metric format.

CloudWatch makes metrics of such lines in the logs of a Lambda function; a worker of this machine writes them to a file.
Counts are a batch's: their sum by time is a rate. Source: Specification: Embedded metric format, Amazon CloudWatch User
Guide.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from city_platform.traffic.handler import LATENCY_BUCKET_MS, Outcome
from city_platform.traffic.records import arrival_ms, stream_and_shard

NAMESPACE = "CityPlatform/Traffic"
COUNT, MILLISECONDS, PERCENT = "Count", "Milliseconds", "Percent"
_MOST_VALUES = 100  # of one metric in one document


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch beside its outcome: the event it came in, when it was read and when it was stored, epoch ms.

    `coverage` is the share of expected sensors that were heard in the last closed window; None: nobody knows yet.
    """

    event: Mapping[str, Any]
    read_ms: int
    stored_ms: int
    coverage: float | None


def document(batch: Batch, outcome: Outcome) -> bytes:
    """The batch's metrics as one line of JSON, without the line's end.

    EndToEndLatency has up to a hundred values, evenly spread over the batch's readings, so that CloudWatch's own
    percentiles over any time are right; those of the batch stand beside it. It runs from the measurement to the store.
    The iterator's age is that of the batch's youngest record, when it was read.
    """
    metrics: dict[str, tuple[str, float | list[float]]] = {
        "Records": (COUNT, outcome.records),
        "Accepted": (COUNT, outcome.accepted),
        "Duplicates": (COUNT, outcome.duplicates),
        "Late": (COUNT, outcome.late),
        "LateDropped": (COUNT, outcome.late_dropped),
        "Rejected": (COUNT, sum(outcome.rejected.values())),
        "WindowsWritten": (COUNT, outcome.written),
        "Conflicts": (COUNT, outcome.conflicts),
        "BatchItemFailures": (COUNT, len(outcome.failed)),
    }
    metrics |= {f"Rejected.{reason}": (COUNT, count) for reason, count in sorted(outcome.rejected.items())}
    if outcome.latency.any():
        p50, p95, p99 = percentiles(outcome.latency, np.array([0.5, 0.95, 0.99]))
        values = min(_MOST_VALUES, int(outcome.latency.sum()))
        middles = (np.arange(values) + 0.5) / values  # of as many equal parts
        metrics["EndToEndLatency"] = (MILLISECONDS, percentiles(outcome.latency, middles))
        metrics |= {
            "EndToEndLatencyP50": (MILLISECONDS, p50),
            "EndToEndLatencyP95": (MILLISECONDS, p95),
            "EndToEndLatencyP99": (MILLISECONDS, p99),
        }
    arrivals = [at for record in batch.event["Records"] if (at := arrival_ms(record)) is not None]
    if arrivals:
        metrics["IteratorAge"] = (MILLISECONDS, max(0, batch.read_ms - max(arrivals)))
    if batch.coverage is not None:
        metrics["Coverage"] = (PERCENT, round(batch.coverage * 100, 2))
    stream, shard = stream_and_shard(batch.event["Records"][0])
    directive = {
        "Namespace": NAMESPACE,
        # A metric of each shard would cost as often as much; which one it was stands beside, for the logs' queries.
        "Dimensions": [["Stream"]],
        "Metrics": [{"Name": name, "Unit": unit} for name, (unit, _) in metrics.items()],
    }
    return msgspec.json.encode(
        {
            "_aws": {"Timestamp": batch.stored_ms, "CloudWatchMetrics": [directive]},
            "Stream": stream,
            "Shard": shard,
            **{name: value for name, (_, value) in metrics.items()},
        }
    )


def percentiles(latency: NDArray[np.int64], shares: NDArray[np.float64]) -> list[float]:
    """The milliseconds within which these shares of the readings were stored, from an outcome's latency buckets.

    The upper end of a bucket, so that no figure looks better than it is, but for the last bucket, which has no end.
    """
    below = np.cumsum(latency)
    places = np.searchsorted(below, np.ceil(shares * below[-1]))
    found: list[float] = ((places + 1) * LATENCY_BUCKET_MS).tolist()
    return found
