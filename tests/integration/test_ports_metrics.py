"""The contract of metrics, held by both adapters; and what CloudWatch refuses."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import boto3
import pytest

from city_platform.aws.metrics import CloudWatchMetrics
from city_platform.local.metrics import FileMetrics
from city_platform.local.rotated_file import RotatedFile
from city_platform.ports import Measurement, Metrics, MetricsRefused

AT = datetime.now(UTC).replace(microsecond=0)
Figures = tuple[int, float, float]  # how many, their sum, the largest


@dataclass(frozen=True)
class Adapter:
    """Metrics, the environment they are of, and what somebody who draws them would be given."""

    metrics: Metrics
    environment: str
    drawn: Callable[[str, str, Mapping[str, str]], Figures | None]


@pytest.fixture(params=["local", "aws"])
def adapter(request: pytest.FixtureRequest, tmp_path: Path) -> Adapter:
    if request.param == "local":
        file = tmp_path / "metrics.jsonl"
        return Adapter(FileMetrics(RotatedFile(file)), "local", lambda *of: _in_file(file, *of))
    request.getfixturevalue("aws_environment")
    return Adapter(CloudWatchMetrics("dev"), "dev", _in_cloudwatch)


def _in_file(file: Path, namespace: str, name: str, of: Mapping[str, str]) -> Figures | None:
    values = []
    for line in file.read_text("utf-8").split("\n")[:-1] if file.exists() else ():
        said = json.loads(line)
        (directive,) = said["_aws"]["CloudWatchMetrics"]
        (dimensions,) = directive["Dimensions"]
        if directive["Namespace"] == namespace and {each: said[each] for each in dimensions} == of and name in said:
            values.append(said[name])
    return (len(values), sum(values), max(values)) if values else None


def _in_cloudwatch(namespace: str, name: str, of: Mapping[str, str]) -> Figures | None:
    # The emulator takes figures with further dimensions for the same, which CloudWatch does not.
    points = boto3.client("cloudwatch").get_metric_statistics(
        Namespace=namespace,
        MetricName=name,
        Dimensions=[{"Name": each, "Value": value} for each, value in of.items()],
        StartTime=AT - timedelta(hours=1),
        EndTime=AT + timedelta(hours=1),
        Period=7200,
        Statistics=["SampleCount", "Sum", "Maximum"],
    )["Datapoints"]
    return (int(points[0]["SampleCount"]), points[0]["Sum"], points[0]["Maximum"]) if points else None


def test_figures_are_drawn_by_namespace_name_and_dimensions(adapter: Adapter) -> None:
    one, other = uuid4().hex, uuid4().hex
    adapter.metrics.put(one, [])
    adapter.metrics.put(one, [Measurement("RunSeconds", 2.5, "Seconds", AT, {"Job": "trees"})])
    adapter.metrics.put(
        one,
        [
            Measurement("RunSeconds", 4.0, "Seconds", AT, {"Job": "trees"}),
            Measurement("RunSeconds", 9.0, "Seconds", AT, {"Job": "tickets"}),
            Measurement("LongestRunSeconds", 13.0, "Seconds", AT, {}),
            Measurement("RunsFailed", 1.0, "Count", AT, {"Job": "trees"}),
        ],
    )
    here = {"Environment": adapter.environment}
    assert adapter.drawn(one, "RunSeconds", here | {"Job": "trees"}) == (2, 6.5, 4.0)
    assert adapter.drawn(one, "RunSeconds", here | {"Job": "tickets"}) == (1, 9.0, 9.0)
    assert adapter.drawn(one, "LongestRunSeconds", here) == (1, 13.0, 13.0)
    assert adapter.drawn(one, "RunsFailed", here | {"Job": "trees"}) == (1, 1.0, 1.0)
    assert adapter.drawn(one, "RunsFailed", here | {"Job": "tickets"}) is None
    assert adapter.drawn(other, "RunSeconds", here) is None


def test_more_figures_than_one_call_takes_all_arrive(adapter: Adapter) -> None:
    namespace = uuid4().hex
    sent = [Measurement("Rows", float(value), "Count", AT, {"Job": f"job-{value % 3}"}) for value in range(1503)]
    adapter.metrics.put(namespace, sent)
    counts = [
        found[0]
        for job in range(3)
        if (found := adapter.drawn(namespace, "Rows", {"Environment": adapter.environment, "Job": f"job-{job}"}))
    ]
    assert counts == [501, 501, 501]


@pytest.mark.usefixtures("aws_environment")
def test_what_cloudwatch_does_not_take_is_refused_by_name() -> None:
    with pytest.raises(MetricsRefused, match="CloudWatch refused: InvalidParameterValue"):
        CloudWatchMetrics("dev").put(uuid4().hex, [Measurement("Rows", float("nan"), "Count", AT, {})])
