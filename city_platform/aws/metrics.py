"""Metrics in Amazon CloudWatch."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from city_platform.aws.client_errors import typed
from city_platform.ports import Measurement, MetricsRefused, MetricsUnavailable

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.type_defs import MetricDatumTypeDef

_AT_ONCE = 1000  # metrics of one PutMetricData; a megabyte is far off with names as ours


def cloudwatch_client(region: str | None = None) -> "CloudWatchClient":
    """A client whose calls end: 3 s to connect, 10 s to answer, at most five attempts."""
    settings = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 5})
    return boto3.client("cloudwatch", region_name=region, config=settings)


class CloudWatchMetrics:
    """Metrics of one environment (dev, staging, prod), told apart by the dimension `Environment`."""

    def __init__(self, environment: str, connect: "Callable[[], CloudWatchClient]" = cloudwatch_client) -> None:
        """`connect` is called once, at the first figure."""
        self._environment = environment
        self._connect = connect

    def put(self, namespace: str, measurements: Sequence[Measurement]) -> None:
        data = [self._datum(one) for one in measurements]
        for first in range(0, len(data), _AT_ONCE):
            with typed("CloudWatch", MetricsUnavailable, MetricsRefused):
                self._client.put_metric_data(Namespace=namespace, MetricData=data[first : first + _AT_ONCE])

    def _datum(self, one: Measurement) -> "MetricDatumTypeDef":
        of = {"Environment": self._environment, **one.dimensions}
        return {
            "MetricName": one.name,
            "Dimensions": [{"Name": name, "Value": value} for name, value in of.items()],
            "Timestamp": one.at,
            "Value": one.value,
            "Unit": one.unit,
        }

    @cached_property
    def _client(self) -> "CloudWatchClient":
        return self._connect()
