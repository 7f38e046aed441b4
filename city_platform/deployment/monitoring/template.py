"""The template itself: alarms across stacks, and the dashboards.

`python -m city_platform.deployment.monitoring.template > infrastructure/monitoring.yaml` after changing either.
"""

import sys
from collections.abc import Iterator, Mapping
from textwrap import indent

from city_platform.deployment.cloudformation import IDENTITY
from city_platform.deployment.monitoring import dashboards
from city_platform.deployment.monitoring.widgets import Board
from city_platform.governance.metrics import DATA, RUNS

_HEAD = """\
# Written by `python -m city_platform.deployment.monitoring.template`.
AWSTemplateFormatVersion: "2010-09-09"
Description: >-
  How the platform does: a dashboard each of the data platform, of incidents and of traffic, and the alarms that no
  single stack can have: failed and slow runs, ingestion that is late, a weekly evaluation that was missed, a daemon
  that stopped, buckets that grow past their limit. Decision: alarms that wait for something fire when nothing is heard,
  because what would tell of a failure may be what failed. Alarms on functions, tables and queues are those stacks' own.
  Needs foundation, incidents, iot-analytics-system, analytics and dagster.

"""
_LIMITS = """\
  RunSecondsLimit:
    Type: Number
    Description: How long a run may take before somebody is told.
    Default: 3600
    MinValue: 60
  StaleDatasetsTolerated:
    Type: Number
    Description: Datasets that may be older than their contracts promise before somebody is told.
    Default: 0
    MinValue: 0
  StaleEvaluationsTolerated:
    Type: Number
    Description: Partitions that the weekly evaluation may have missed before somebody is told.
    Default: 0
    MinValue: 0
  BucketLimitGb:
    Type: Number
    Description: Gigabytes (2^30 bytes) that each of the lake's buckets may hold before somebody is told.
    Default: 500
    MinValue: 1
  StoragePricePerGb:
    Type: Number
    Description: >-
      US dollars a gigabyte and month of standard storage in this region, for the estimate on the dashboard; colder
      classes cost less.
    Default: 0.025
    MinValue: 0

Resources:
"""
_TAGS = """\
      Tags:
        - {Key: Project, Value: !Ref Project}
        - {Key: Environment, Value: !Ref Environment}
        - {Key: DataClassification, Value: internal}
"""
_ALARM = """\
  {name}Alarm:
    Type: AWS::CloudWatch::Alarm
    Properties:
      AlarmName: !Sub ${{Project}}-${{Environment}}-{slug}
      AlarmDescription: >-
        {say}
{watched}      EvaluationPeriods: {periods}
      DatapointsToAlarm: {periods}
      Threshold: {threshold}
      ComparisonOperator: {compares}
      TreatMissingData: {missing}
      AlarmActions: [{{"Fn::ImportValue": !Sub "${{Project}}-${{Environment}}-OperationsTopicArn"}}]
      OKActions: [{{"Fn::ImportValue": !Sub "${{Project}}-${{Environment}}-OperationsTopicArn"}}]
{tags}
"""
_METRIC = """\
      Namespace: {namespace}
      MetricName: {metric}
      Dimensions: [{{Name: Environment, Value: !Ref Environment}}]
      Statistic: {stat}
      Period: {period}
"""
_GIGABYTES = """\
      Metrics:
        - Id: gigabytes
          Label: Gigabytes
          ReturnData: true
          Expression: SUM(METRICS()) / 1073741824
"""
_SIZE = """\
        - Id: {name}
          ReturnData: false
          MetricStat:
            Metric:
              Namespace: AWS/S3
              MetricName: BucketSizeBytes
              Dimensions:
                - Name: BucketName
                  Value: {{"Fn::ImportValue": !Sub "${{Project}}-${{Environment}}-{bucket}Bucket"}}
                - {{Name: StorageType, Value: {kind}}}
            Period: 86400
            Stat: Average
"""
_DASHBOARD = """\
  {name}:
    Type: AWS::CloudWatch::Dashboard
    Properties:
      DashboardName: !Sub ${{Project}}-${{Environment}}-{slug}
{tags}      DashboardBody: !Sub
        - |
{body}
{imports}
"""
_OUTPUT = """\
  {name}Name:
    Value: !Ref {name}
    Export:
      Name: !Sub ${{Project}}-${{Environment}}-{name}Name
"""
# The classes that objects of the lake are in, as S3 names their sizes.
_KINDS = {
    "standard": "StandardStorage",
    "infrequent": "StandardIAStorage",
    "archived": "GlacierInstantRetrievalStorage",
}
_ABOVE, _BELOW = "GreaterThanThreshold", "LessThanThreshold"
_BOARDS: Mapping[str, tuple[str, Board, Mapping[str, str]]] = {
    "DataDashboard": (
        "data-platform",
        dashboards.data_platform(),
        {
            **{name: f"{name}Bucket" for name in ("Raw", "Transform", "Curated", "Crawler")},
            "Queries": "AthenaWorkGroupName",
            "Cluster": "DagsterClusterName",
        },
    ),
    "IncidentsDashboard": (
        "incidents",
        dashboards.incidents(),
        {
            "Table": "IncidentTableName",
            "Machine": "ExportStateMachineArn",
            "Letters": "IncidentDeadLettersQueueName",
        },
    ),
    "TrafficDashboard": (
        "traffic",
        dashboards.traffic(),
        {
            "Stream": "TrafficStreamName",
            "Table": "TrafficTableName",
            "Bus": "EventBusName",
            "Letters": "TrafficDeadLettersQueueName",
        },
    ),
}


def template() -> str:
    """The whole text."""
    made = "".join([*_of_runs(), *_of_data(), *_of_buckets(), *_of_boards()])
    return f"{_HEAD}{IDENTITY}{_LIMITS}{made}Outputs:\n" + "".join(_OUTPUT.format(name=name) for name in _BOARDS)


def _of_runs() -> Iterator[str]:
    yield _alarm(
        "RunFailed",
        "A run failed; its log in Dagster says why, in the steps' own words",
        _METRIC.format(namespace=RUNS, metric="RunsFailed", stat="Sum", period=300),
    )
    yield _alarm(
        "RunSlow",
        "A run takes longer than RunSecondsLimit; look at its steps, and end it where it hangs",
        _METRIC.format(namespace=RUNS, metric="LongestRunSeconds", stat="Maximum", period=300),
        threshold="!Ref RunSecondsLimit",
    )
    yield _alarm(
        "DaemonSilent",
        "Dagster's daemon says nothing; no schedule or sensor starts a run until it does",
        _METRIC.format(namespace=RUNS, metric="RunsInProgress", stat="SampleCount", period=300),
        periods=3,
        threshold="1",
        compares=_BELOW,
        missing="breaching",
    )


def _of_data() -> Iterator[str]:
    yield _alarm(
        "IngestionLate",
        "A dataset is older than its contract promises, or nobody looks any more; the dashboard says which dataset",
        _METRIC.format(namespace=DATA, metric="StaleDatasets", stat="Maximum", period=1800),
        periods=2,
        threshold="!Ref StaleDatasetsTolerated",
        missing="breaching",
    )
    yield _alarm(
        "EvaluationMissed",
        "Partitions were not evaluated for over a week, or nobody looks any more; start their governance jobs",
        _METRIC.format(namespace=DATA, metric="StaleEvaluations", stat="Maximum", period=1800),
        periods=2,
        threshold="!Ref StaleEvaluationsTolerated",
        missing="breaching",
    )


def _of_buckets() -> Iterator[str]:
    for bucket in ("Raw", "Transform", "Curated", "Crawler"):
        sizes = (_SIZE.format(name=name, bucket=bucket, kind=kind) for name, kind in _KINDS.items())
        yield _alarm(
            f"{bucket}BucketFull",
            f"The {bucket.lower()} bucket holds more than BucketLimitGb; prune versions that nobody needs, or raise it",
            _GIGABYTES + "".join(sizes),
            threshold="!Ref BucketLimitGb",
            missing="ignore",  # sizes come once a day, some hours late
        )


def _of_boards() -> Iterator[str]:
    for name, (slug, board, imports) in _BOARDS.items():
        found = [
            f'{own}: {{"Fn::ImportValue": !Sub "${{Project}}-${{Environment}}-{theirs}"}}'
            for own, theirs in imports.items()
        ]
        values = "".join(f"{'- ' if place == 0 else '  '}{one}\n" for place, one in enumerate(found))
        body = indent(board.body(), " " * 10)
        yield _DASHBOARD.format(
            name=name, slug=slug, tags=_TAGS, body=body, imports=indent(values, " " * 8).rstrip("\n") + "\n"
        )


def _alarm(
    name: str,
    say: str,
    watched: str,
    *,
    periods: int = 1,
    threshold: str = "0",
    compares: str = _ABOVE,
    missing: str = "notBreaching",
) -> str:
    slug = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).removeprefix("-")
    return _ALARM.format(
        tags=_TAGS,
        name=name,
        slug=slug,
        say=say,
        watched=watched,
        periods=periods,
        threshold=threshold,
        compares=compares,
        missing=missing,
    )


if __name__ == "__main__":
    sys.stdout.write(template())
