"""The three dashboards: the data platform, incidents, traffic."""

from typing import Any

from city_platform.deployment.monitoring.widgets import (
    DAY,
    FIVE_MINUTES,
    HALF_AN_HOUR,
    HOUR,
    Board,
    Line,
    Schema,
    calculated,
    metric,
    search,
)
from city_platform.governance.metrics import DATA, RUNS

_HERE = {"Environment": "${Environment}"}
_IN_HERE = 'Environment="${Environment}"'
_OURS = "${Project}-${Environment}"
_GIGABYTE, _MEGABYTE = 1 << 30, 1 << 20
_MINUTE = 60
_ALARMS = (
    *("RunFailed", "RunSlow", "DaemonSilent", "IngestionLate", "EvaluationMissed"),
    *("RawBucketFull", "TransformBucketFull", "CuratedBucketFull", "CrawlerBucketFull"),
)
_LAKE = " OR ".join(f'BucketName="${{{bucket}}}"' for bucket in ("Raw", "Transform", "Curated", "Crawler"))
_BUCKETS: Schema = ("AWS/S3", ("BucketName", "StorageType"))
_FUNCTIONS: Schema = ("AWS/Lambda", ("FunctionName",))
_QUEUES: Schema = ("AWS/SQS", ("QueueName",))
_TOPICS: Schema = ("AWS/SNS", ("TopicName",))
_APIS: Schema = ("AWS/ApiGateway", ("ApiName",))
_RULES: Schema = ("AWS/Events", ("EventBusName", "RuleName"))
_SERVICES: Schema = ("AWS/ECS", ("ClusterName", "ServiceName"))
_QUERIES: Schema = ("AWS/Athena", ("QueryState", "QueryType", "WorkGroup"))
_OF_INCIDENTS = ("api", "stream", "export", "deadlines", "publishing", "traffic", "sign-in")
_OF_TRAFFIC = ("live", "archive", "watch", "relay", "alerts", "provisioning")
_TRAFFIC = "CityPlatform/Traffic"  # as city_platform.traffic.metrics has it, which the command line need not load


def data_platform() -> Board:
    """Runs, freshness, quality and storage. Stands for Raw, Transform, Curated, Crawler, Queries and Cluster."""
    board = Board()
    board.alarms([f"${{{name}Alarm.Arn}}" for name in _ALARMS])
    _runs(board)
    _freshness(board)
    _quality(board)
    _storage(board)
    board.heading("Queries and the host")
    workgroup, cluster = 'WorkGroup="${Queries}"', 'ClusterName="${Cluster}"'
    board.chart("Bytes that queries scanned", search(_QUERIES, "ProcessedBytes", "Sum", HOUR, workgroup), period=HOUR)
    times = search(_QUERIES, "TotalExecutionTime", "Average", HOUR, workgroup)
    board.chart("Milliseconds of queries", times, stat="Average", period=HOUR)
    board.chart(
        "Processor and memory of Dagster, percent",
        search(_SERVICES, "CPUUtilization", "Average", FIVE_MINUTES, cluster, id="processor"),
        search(_SERVICES, "MemoryUtilization", "Average", FIVE_MINUTES, cluster, id="memory"),
        stat="Average",
    )
    return board


def incidents() -> Board:
    """API, functions, table and export. Stands for Table, Machine and Letters."""
    board, requests, topics = Board(), f"ApiName={_OURS}", f"TopicName={_OURS}-incident"
    board.heading("The API")
    board.chart("Requests", search(_APIS, "Count", "Sum", FIVE_MINUTES, requests))
    board.chart(
        "Requests refused and failed",
        search(_APIS, "4XXError", "Sum", FIVE_MINUTES, requests, id="refused"),
        search(_APIS, "5XXError", "Sum", FIVE_MINUTES, requests, id="failed"),
    )
    latency = search(_APIS, "Latency", "p95", FIVE_MINUTES, requests)
    board.chart("Milliseconds of a request, of a hundred the 95th", latency, stat="p95")
    _functions(board, "incident", *_OF_INCIDENTS)
    _table(board)
    board.heading("Export to the lake, and what waits")
    machine = {"StateMachineArn": "${Machine}"}
    ends = ("ExecutionsSucceeded", "ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted")
    board.chart("Exports", *(metric("AWS/States", end, machine) for end in ends), period=HOUR)
    longest = metric("AWS/States", "ExecutionTime", machine, stat="Maximum")
    board.chart("Milliseconds of an export", longest, stat="Maximum", period=HOUR)
    board.chart("Changes that could not be read", _letters(), stat="Maximum")
    _queues(board, "incident")
    board.chart(
        "Alerts that were told, and that reached nobody",
        search(_TOPICS, "NumberOfNotificationsDelivered", "Sum", FIVE_MINUTES, topics, id="told"),
        search(_TOPICS, "NumberOfNotificationsFailed", "Sum", FIVE_MINUTES, topics, id="lost"),
    )
    return board


def traffic() -> Board:
    """Readings, stream, functions, table and events. Stands for Stream, Table, Bus and Letters."""
    board = Board()
    _readings(board)
    board.heading("The stream")
    stream = {"StreamName": "${Stream}"}
    came = (metric("AWS/Kinesis", name, stream) for name in ("IncomingBytes", "IncomingRecords"))
    board.chart("Bytes and records that came in", *came, period=_MINUTE)
    full = ("WriteProvisionedThroughputExceeded", "ReadProvisionedThroughputExceeded")
    throttled = (metric("AWS/Kinesis", name, stream) for name in full)
    board.chart("Writes and reads that the stream throttled", *throttled, period=_MINUTE)
    age = metric("AWS/Kinesis", "GetRecords.IteratorAgeMilliseconds", stream, stat="Maximum")
    board.chart("Age of what readers read, milliseconds", age, stat="Maximum", period=_MINUTE)
    told = ("PublishIn.Success", "PublishIn.AuthError", "PublishIn.Throttle")
    messages = (metric("AWS/IoT", name, {"Protocol": "MQTT"}) for name in told)
    board.chart("Messages of devices: taken, refused, held back", *messages, period=_MINUTE)
    _functions(board, "traffic", *_OF_TRAFFIC)
    _table(board)
    board.heading("Events, and what waits")
    bus = 'EventBusName="${Bus}"'
    board.chart(
        "Events that matched a rule, and that reached no target",
        search(_RULES, "MatchedEvents", "Sum", FIVE_MINUTES, bus, id="matched"),
        search(_RULES, "FailedInvocations", "Sum", FIVE_MINUTES, bus, id="failed"),
    )
    board.chart("Records that were given up", _letters(), stat="Maximum")
    _queues(board, "traffic")
    return board


def _runs(board: Board) -> None:
    by_job, by_step = (RUNS, ("Environment", "Job")), (RUNS, ("Environment", "Step"))
    board.heading("Runs")
    ends = ("RunsSucceeded", "RunsFailed", "RunsCancelled")
    board.chart("Runs by outcome", *(metric(RUNS, end, _HERE) for end in ends))
    board.chart("Failed runs by job", search(by_job, "RunsFailed", "Sum", HOUR, _IN_HERE), period=HOUR)
    board.chart(
        "Runs in progress, and the seconds of the longest",
        metric(RUNS, "RunsInProgress", _HERE),
        metric(RUNS, "LongestRunSeconds", _HERE, yAxis="right"),
        stat="Maximum",
    )
    of_a_run = search(by_job, "RunSeconds", "Average", HOUR, _IN_HERE)
    board.chart("Seconds of a run, by job", of_a_run, stat="Average", period=HOUR)
    of_a_step = search(by_step, "StepSeconds", "Average", HOUR, _IN_HERE)
    board.chart("Seconds of a step, by layer", of_a_step, stat="Average", period=HOUR)
    troubles = (metric(RUNS, name, _HERE) for name in ("StepRetries", "ChecksFailed"))
    board.chart("Steps tried again, and rules that did not pass", *troubles)
    board.chart("Rows written, by job", search(by_job, "RowsWritten", "Sum", HOUR, _IN_HERE), period=HOUR)
    of_layers = search(by_step, "BytesRead", "Sum", HOUR, _IN_HERE)
    board.chart("Bytes of the files that steps opened, by layer", of_layers, period=HOUR)
    board.chart("Bytes written, by job", search(by_job, "BytesWritten", "Sum", HOUR, _IN_HERE), period=HOUR)
    board.chart(
        "Seconds of work a megabyte written",
        metric(RUNS, "RunSeconds", _HERE, id="seconds", visible=False),
        metric(RUNS, "BytesWritten", _HERE, id="bytes", visible=False),
        calculated("each", f"{_MEGABYTE} * seconds / bytes", "seconds a megabyte"),
        period=DAY,
    )


def _freshness(board: Board) -> None:
    by_dataset = (DATA, ("Environment", "Dataset"))
    board.heading("Freshness")
    used = search(by_dataset, "FreshnessUsed", "Maximum", HALF_AN_HOUR, _IN_HERE)
    promised = {"horizontal": [{"label": "promised", "value": 100}]}
    _states(board, "Of the age that contracts promise at most, percent", used, annotations=promised)
    age = search(by_dataset, "DataAge", "Maximum", HALF_AN_HOUR, _IN_HERE)
    _states(board, "Age of the newest data, seconds", age)
    counts = (metric(DATA, name, _HERE) for name in ("StaleDatasets", "EmptyDatasets", "StaleEvaluations"))
    _states(board, "Datasets that are late or empty, evaluations that are old", *counts)


def _quality(board: Board) -> None:
    by_dataset = (DATA, ("Environment", "Dataset"))
    by_rule = (DATA, ("Environment", "Dataset", "Rule"))
    by_partition = (DATA, ("Environment", "Dataset", "Partition"))
    to_all = {"left": {"min": 0, "max": 100}}
    board.heading("Quality")
    score = search(by_dataset, "QualityScore", "Minimum", HALF_AN_HOUR, _IN_HERE)
    board.chart("Score by dataset, percent", score, stat="Minimum", period=HALF_AN_HOUR, yAxis=to_all)
    judged = search(by_partition, "QualityScore", "Minimum", HOUR, _IN_HERE)
    board.chart("Score of a partition when it was judged, percent", judged, stat="Minimum", period=HOUR, yAxis=to_all)
    failed = search(by_dataset, "RowsFailed", "Maximum", HALF_AN_HOUR, _IN_HERE)
    _states(board, "Rows that failed, by dataset", failed)
    rows = search(by_rule, "RowsFailed", "Maximum", HALF_AN_HOUR, _IN_HERE)
    _states(board, "The worst rules: rows that failed", rows, view="table", width=12)
    partitions = search(by_rule, "PartitionsFailing", "Maximum", HALF_AN_HOUR, _IN_HERE)
    _states(board, "The worst rules: partitions they fail in", partitions, view="table", width=6)
    gates = search(by_dataset, "GatesClosed", "Maximum", HALF_AN_HOUR, _IN_HERE)
    _states(board, "Gates that stand closed", metric(DATA, "GatesClosed", _HERE, label="all"), gates, width=6)


def _storage(board: Board) -> None:
    def sizes(**options: Any) -> Line:
        return search(_BUCKETS, "BucketSizeBytes", "Average", DAY, f"({_LAKE})", **options)

    board.heading("Storage")
    hidden = sizes(id="sizes", visible=False)
    _daily(board, "Bytes by bucket and storage class", sizes(), stacked=True)
    everything = 'StorageType="AllStorageTypes"'
    _daily(board, "Objects by bucket", search(_BUCKETS, "NumberOfObjects", "Average", DAY, f"({_LAKE})", everything))
    _daily(board, "Growth of a day, bytes", hidden, calculated("growth", "DIFF(sizes)"))
    cost = calculated("cost", f"SUM(sizes) / {_GIGABYTE} * ${{StoragePricePerGb}}", "all buckets, at most")
    late = metric(DATA, "ReplicationLatency", _HERE, stat="Maximum")
    _states(board, "Age of what the lake's copy lacks, seconds", late)
    lacking = (("OperationsPendingReplication", "left"), ("BytesPendingReplication", "right"))
    missing = (metric(DATA, name, _HERE, yAxis=side) for name, side in lacking)
    _states(board, "Objects and bytes that the lake's copy lacks", *missing)
    _daily(board, "A month's storage at the standard price, US dollars", hidden, cost)


def _readings(board: Board) -> None:
    of = {"Stream": "${Stream}"}

    def counts(title: str, *names: str) -> None:
        board.chart(title, *(metric(_TRAFFIC, name, of) for name in names), period=_MINUTE)

    board.heading("Readings")
    counts("Records that came, and readings that were counted", "Records", "Accepted")
    counts("Readings that were not counted", "Duplicates", "Late", "LateDropped", "Rejected")
    reasons = search((_TRAFFIC, ("Stream",)), "Rejected", "Sum", FIVE_MINUTES, 'Stream="${Stream}"', exact=False)
    board.chart("Readings refused, by reason", reasons)
    latency = (metric(_TRAFFIC, "EndToEndLatency", of, stat=one, label=one) for one in ("p50", "p95", "p99"))
    board.chart("Milliseconds from the measurement to the table", *latency, stat="p99", period=_MINUTE)
    coverage, to_all = metric(_TRAFFIC, "Coverage", of), {"left": {"min": 0, "max": 100}}
    heard = "Sensors heard in the last closed window, percent"
    board.chart(heard, coverage, stat="Minimum", period=_MINUTE, yAxis=to_all)
    age = metric(_TRAFFIC, "IteratorAge", of)
    board.chart("Age of the youngest record read, milliseconds", age, stat="Maximum", period=_MINUTE)
    counts(
        "Windows written, writes that met another, records again", "WindowsWritten", "Conflicts", "BatchItemFailures"
    )


def _functions(board: Board, word: str, *names: str) -> None:
    """Those whose names go on with the word, and then with one of the names."""
    named = f"FunctionName={_OURS}-{word}"

    def found(name: str, stat: str, period: int = FIVE_MINUTES, **options: Any) -> Line:
        return search(_FUNCTIONS, name, stat, period, named, **options)

    board.heading("Functions")
    board.chart("Calls of functions", found("Invocations", "Sum"))
    troubles = (found("Errors", "Sum", id="errors"), found("Throttles", "Sum", id="throttled"))
    board.chart("Errors and throttled calls of functions", *troubles)
    board.chart("Milliseconds of a call, of a hundred the 95th", found("Duration", "p95"), stat="p95")
    board.chart("Age of what is read from streams, milliseconds", found("IteratorAge", "Maximum"), stat="Maximum")
    board.chart("Calls at once", found("ConcurrentExecutions", "Maximum"), stat="Maximum")
    # A function's last line says what it is billed for, in one of two forms; its metrics leave out the memory.
    board.answer(
        "Gigabyte-seconds of functions: of an hour, and of a call",
        [f"/aws/lambda/{_OURS}-{word}-{name}" for name in names],
        "fields coalesce(record.metrics.billedDurationMs, @billedDuration) as ms",
        "fields coalesce(record.metrics.memorySizeMB, @memorySize / 1000000) as mb",
        "fields ms / 1000 * mb / 1024 as each",
        'filter @type = "REPORT" or type = "platform.report"',
        "stats sum(each) as gigabyte_seconds, avg(each) as gigabyte_seconds_a_call by bin(1h)",
    )


def _table(board: Board) -> None:
    of, namespace = {"TableName": "${Table}"}, "AWS/DynamoDB"
    board.heading("The table")
    used = (metric(namespace, f"Consumed{kind}CapacityUnits", of) for kind in ("Read", "Write"))
    board.chart("Capacity that the table used", *used)
    throttled = (metric(namespace, f"{kind}ThrottleEvents", of) for kind in ("Read", "Write"))
    board.chart("Requests that the table throttled", *throttled)
    by_operation, name = (namespace, ("Operation", "TableName")), "SuccessfulRequestLatency"
    latency = search(by_operation, name, "Average", FIVE_MINUTES, 'TableName="${Table}"')
    board.chart("Milliseconds of a request, by operation", latency, stat="Average")


def _queues(board: Board, word: str) -> None:
    named = f"QueueName={_OURS}-{word}"
    waiting = search(_QUEUES, "ApproximateNumberOfMessagesVisible", "Maximum", FIVE_MINUTES, named)
    board.chart("Messages that wait, by queue", waiting, stat="Maximum")
    oldest = search(_QUEUES, "ApproximateAgeOfOldestMessage", "Maximum", FIVE_MINUTES, named)
    board.chart("Seconds of the oldest message, by queue", oldest, stat="Maximum")


def _letters() -> Line:
    return metric("AWS/SQS", "ApproximateNumberOfMessagesVisible", {"QueueName": "${Letters}"})


def _states(board: Board, title: str, *lines: Line, width: int = 8, **more: object) -> None:
    """Figures that are looked up every few minutes; the highest of half an hour."""
    board.chart(title, *lines, stat="Maximum", period=HALF_AN_HOUR, width=width, **more)


def _daily(board: Board, title: str, *lines: Line, **more: object) -> None:
    board.chart(title, *lines, stat="Average", period=DAY, width=6, **more)
