"""What the traffic path costs on AWS in a month, line by line, for three ways to bring readings in.

`packed`: gateways at the kerb pack a zone's readings into frames and put them into the stream themselves. `broker`: the
sensors publish to a broker of our own, a bridge beside it packs. `single`: one message, one record and one database
write for each reading, as the IoT tutorials have it; nobody should build that, and the figures say why.

Prices are in `prices.yaml`, with their date. Not in the model: support plans, tax, people, and data that leaves the
cloud.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from math import ceil
from typing import Any

import yaml

from city_platform.errors import PermanentError
from city_platform.traffic.state import BUCKETS, KEEP_MS, WINDOW_MS

HOURS = 730.0  # of a month, as AWS counts it
SECONDS = HOURS * 3600
GB, KB = 1e9, 1024.0
DAY_S = 86_400
LIMIT_USD = 1000.0

# Measured with this project's encoders on made-up readings; the handler's rate is the one it is held to.
BYTES_PER_UPDATE = 10.5  # of a zlib frame of columns with 100 to 200 readings
UPDATES_PER_CORE_S = 1.1e6  # handler, frames of columns
ITEM_KB = 1.4  # a zone's window of 100 sensors, with its attributes
LEVEL_BYTES, HEALTH_BYTES = 92, 9.3  # of a zone's and a sensor's share of their bucket's records

# Chosen.
FRAME_S = 2.0  # a gateway sends a frame of each zone this often
BATCH_S = 1.0  # the stream waits this long for a batch
SHARDS_AT_LEAST = 4
HEADROOM = 1.25  # capacity over the mean rate
RETENTION_EXTENDED = True  # a week instead of a day
LAMBDA_GB = 1769 / 1024  # one core
BATCH_OVERHEAD_S, WRITE_S = 0.02, 0.002  # of an invocation, and of each conditional write in it
BATCHES_AT_ONCE = 1  # of a shard: a handler takes one after the other, which keeps its windows warm
JUDGING_S = 1.5  # of a core for a minute of the city: a third computing, the rest waiting for the table
LAYERS, LAYER_SHARE = 4, 0.5  # of the lake behind raw, and the size of each against raw: Parquet of the same readings
MONTHS = 12  # kept: the newest with all layers, of the others raw and the encrypted layer, archived
REFRESH_S = 5  # the live page reads every zone this often, once for all who look
METRICS, ALARMS, KEYS = 55, 20, 4  # metrics with those of each shard
ARCHIVED_PER_CORE_S = 0.9e6  # readings, measured
ARCHIVE_GB, ARCHIVE_WINDOW_S = 3008 / 1024, 300.0  # the archive's function, and how long it waits for a batch
BATCH_BYTES = 6e6 * 3 / 4  # most of a batch, which comes as base64
FILE_REQUESTS = 3  # of a batch: a file, its hour's manifest, and looking at the manifests
ALERTS_PER_DAY = 5000

# The tutorials' way.
MESSAGE_BYTES = 250  # of one reading as JSON with its topic, over TLS
SINGLE_UPDATES_PER_CORE_S = 1.5e5
SINGLE_ITEM_KB = 0.5


class InvalidPrices(PermanentError):
    """The price table lacks prices or holds what is none; the message names all of them."""


@dataclass(frozen=True, slots=True)
class Price:
    usd: float
    per: float
    confirmed: bool


@dataclass(frozen=True, slots=True)
class Prices:
    """A price table, as of a day, for a region."""

    as_of: date
    region: str
    table: Mapping[str, Price]

    @property
    def unconfirmed(self) -> int:
        return sum(not price.confirmed for price in self.table.values())


@dataclass(frozen=True, slots=True)
class Load:
    """Readings a second over the whole city, the sensors that send them, and the zones they stand in."""

    updates_s: float = 50_000
    sensors: int = 50_000
    zones: int = 500

    def __post_init__(self) -> None:
        if not (self.updates_s > 0 and 1 <= self.zones <= self.sensors):
            raise ValueError("a load needs a rate above 0, and at least as many sensors as zones")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the bill: so many units of something in a month."""

    service: str
    what: str
    price: str  # its name in the table
    quantity: float
    usd: float


@dataclass(frozen=True, slots=True)
class Estimate:
    design: str
    lines: tuple[Line, ...]

    @property
    def usd(self) -> float:
        """A month, all lines."""
        return sum(line.usd for line in self.lines)


def read_prices(text: str | None = None) -> Prices:
    """The price table, that of the package unless given as text. Raises InvalidPrices with all that is wrong."""
    packaged = files(__package__).joinpath("prices.yaml").read_text(encoding="utf-8")
    names = yaml.safe_load(packaged)["prices"].keys()
    try:
        document: Any = yaml.safe_load(packaged if text is None else text)
    except yaml.YAMLError as error:
        raise InvalidPrices(f"the price table is no YAML: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("prices"), dict):
        raise InvalidPrices("a price table is a mapping with as_of, region, currency and prices")
    given, wrong = document["prices"], []
    wrong += [f"{name} is missing" for name in sorted(names - given.keys())]
    wrong += [f"{name} is no price this model knows" for name in sorted(map(str, given.keys() - names))]
    wrong += [] if isinstance(document.get("as_of"), date) else ["as_of is no date"]
    wrong += [] if document.get("currency") == "USD" else ["currency is not USD"]
    table = {}
    for name in sorted(names & given.keys()):
        entry = given[name] if isinstance(given[name], dict) else {}
        usd, per = entry.get("usd"), entry.get("per")
        if isinstance(usd, int | float) and usd >= 0 and isinstance(per, int | float) and per > 0:
            table[name] = Price(float(usd), float(per), entry.get("confirmed") is True)
        else:
            wrong.append(f"{name} needs usd (0 or more) and per (above 0)")
    if wrong:
        raise InvalidPrices(f"{len(wrong)} mistake(s) in the price table: {'; '.join(wrong)}")
    return Prices(document["as_of"], str(document.get("region")), table)


def estimate(design: str, load: Load, prices: Prices) -> Estimate:
    """The monthly bill of a design under a load. Raises ValueError for a design there is none of."""
    _check(design)
    bill = _Bill(prices, [])
    DESIGNS[design](load, bill)
    return Estimate(design, tuple(bill.lines))


def _check(design: str) -> None:
    if design not in DESIGNS:
        raise ValueError(f"there is no design {design!r}; there are: {', '.join(DESIGNS)}")


@dataclass(frozen=True, slots=True)
class Capacity:
    """What has to be there for a load: shards, table units a second, and functions that run at the same time.

    `cores` is how many of them are busy on average.
    """

    shards: int
    write_units: int  # of 1 KB
    record_write_units: int  # of the minutes' levels and health, beside the windows'
    read_units: int  # of 4 KB
    functions: int
    cores: float


def capacity(design: str, load: Load) -> Capacity:
    """What a design needs under a load, with headroom. Raises ValueError for a design there is none of."""
    _check(design)
    flow = _single_flow(load) if design == "single" else _packed_flow(load)
    # The live page takes the newest window of each zone; decisions take six windows of each zone a minute.
    reads_s = load.zones * ITEM_KB / 4 / 2 / REFRESH_S + load.zones * 6 * ITEM_KB / 4 / 60
    # Each minute every bucket's levels and health are written in a transaction, which costs twice.
    records = ceil(load.zones * LEVEL_BYTES / BUCKETS / KB) + ceil(load.sensors * HEALTH_BYTES / BUCKETS / KB)
    shards = flow.shards
    return Capacity(
        shards=shards,
        write_units=ceil(flow.writes_s * ceil(flow.item_kb) * HEADROOM),
        record_write_units=ceil(2 * BUCKETS * records / 60 * HEADROOM),
        read_units=ceil(reads_s * HEADROOM),
        functions=shards * BATCHES_AT_ONCE,
        cores=shards / BATCH_S * flow.batch_s + flow.counting_s + flow.writes_s * WRITE_S,
    )


@dataclass(frozen=True, slots=True)
class _Flow:
    """What a load makes of a design: what a second brings, and how long each of it takes."""

    records_s: float
    bytes_s: float
    writes_s: float
    item_kb: float
    batch_s: float  # of an invocation, whatever is in it
    counting_s: float  # of a core, for a second's readings
    shards: int


def _packed_flow(load: Load) -> _Flow:
    frames_s = load.zones / FRAME_S
    bytes_s = load.updates_s * BYTES_PER_UPDATE
    return _Flow(
        records_s=frames_s,
        bytes_s=bytes_s,
        # Every frame changes its zone's window, and where it spans the end of one, the next one too.
        writes_s=load.zones / max(FRAME_S, BATCH_S) + load.zones * 1000 / WINDOW_MS,
        item_kb=ITEM_KB,
        batch_s=BATCH_OVERHEAD_S,
        counting_s=load.updates_s / UPDATES_PER_CORE_S,
        shards=max(SHARDS_AT_LEAST, ceil(HEADROOM * frames_s / 1000), ceil(HEADROOM * bytes_s / 1e6)),
    )


def _single_flow(load: Load) -> _Flow:
    return _Flow(
        records_s=load.updates_s,
        bytes_s=load.updates_s * MESSAGE_BYTES,
        writes_s=load.updates_s,
        item_kb=SINGLE_ITEM_KB,
        batch_s=0.0,
        counting_s=load.updates_s / SINGLE_UPDATES_PER_CORE_S,
        shards=max(1, ceil(HEADROOM * load.updates_s / 1000)),
    )


@dataclass(frozen=True, slots=True)
class _Bill:
    prices: Prices
    lines: list[Line]

    def add(self, service: str, what: str, price: str, quantity: float) -> None:
        known = self.prices.table[price]
        self.lines.append(Line(service, what, price, quantity, quantity / known.per * known.usd))


def _packed(load: Load, bill: _Bill) -> None:
    _stream_to_lake(load, bill, "packed", _packed_flow(load))


def _stream_to_lake(load: Load, bill: _Bill, design: str, flow: _Flow) -> None:
    needed = capacity(design, load)
    _stream(bill, needed.shards, flow.records_s, flow.bytes_s / flow.records_s)
    invocations_s = needed.shards / BATCH_S
    _function(bill, invocations_s, needed.cores)
    _state(bill, load, needed, flow)
    _lake(bill, flow.records_s, flow.bytes_s)
    _archive(bill, load, needed.shards, flow.bytes_s)
    _watching(bill, invocations_s)


def _broker(load: Load, bill: _Bill) -> None:
    _packed(load, bill)
    cores = 2 * max(1, ceil(load.updates_s / 25_000))  # one core carries 25,000 messages a second; two zones of it
    bill.add("Fargate", f"broker and bridge, {cores} vCPU in two zones", "fargate_vcpu_hour", cores * HOURS)
    bill.add("Fargate", f"broker and bridge, {2 * cores} GB", "fargate_gb_hour", 2 * cores * HOURS)
    bill.add("Load balancer", "hours", "nlb_hour", HOURS)
    gb_hour = load.updates_s * MESSAGE_BYTES * 3600 / GB
    bill.add("Load balancer", f"{gb_hour:.0f} GB an hour of single messages", "nlb_capacity_unit_hour", gb_hour * HOURS)


def _single(load: Load, bill: _Bill) -> None:
    messages = load.updates_s * SECONDS
    bill.add("IoT Core", "connections", "iot_connection_minute", load.sensors * SECONDS / 60)
    for name, low, high in (("first", 0.0, 1e9), ("next", 1e9, 5e9), ("rest", 5e9, messages)):
        bill.add("IoT Core", f"messages, {name} tier", f"iot_message_{name}", max(min(messages, high) - low, 0.0))
    bill.add("IoT Core", "rules triggered", "iot_rule", messages)
    bill.add("IoT Core", "actions", "iot_action", messages)
    _stream_to_lake(load, bill, "single", _single_flow(load))


DESIGNS: Mapping[str, Callable[[Load, _Bill], None]] = {"packed": _packed, "broker": _broker, "single": _single}


def _stream(bill: _Bill, shards: int, records_s: float, record_bytes: float) -> None:
    bill.add("Kinesis", f"{shards} shards", "kinesis_shard_hour", shards * HOURS)
    if RETENTION_EXTENDED:
        bill.add("Kinesis", "kept for a week", "kinesis_retention_shard_hour", shards * HOURS)
    units = records_s * ceil(record_bytes / (25 * KB))
    bill.add(
        "Kinesis", f"{records_s:,.0f} records/s of {record_bytes / KB:.1f} KB", "kinesis_put_unit", units * SECONDS
    )


def _function(bill: _Bill, invocations_s: float, busy_s: float) -> None:
    bill.add("Lambda", f"{invocations_s:,.0f} invocations/s", "lambda_request", invocations_s * SECONDS)
    bill.add("Lambda", f"{busy_s:.2f} cores busy", "lambda_gb_second", busy_s * LAMBDA_GB * SECONDS)


def _state(bill: _Bill, load: Load, needed: Capacity, flow: _Flow) -> None:
    what = f"{flow.writes_s:,.0f} writes/s of {flow.item_kb} KB"
    bill.add("DynamoDB", what, "dynamodb_write_unit_hour", needed.write_units * HOURS)
    what = f"{needed.read_units:,} reads/s of 4 KB"
    bill.add("DynamoDB", what, "dynamodb_read_unit_hour", needed.read_units * HOURS)
    what = "levels and health, each minute"
    bill.add("DynamoDB", what, "dynamodb_write_unit_hour", needed.record_write_units * HOURS)
    stored = load.zones * KEEP_MS / WINDOW_MS * ITEM_KB * KB / GB
    bill.add("DynamoDB", f"windows of {KEEP_MS / 1000 / DAY_S:.0f} days", "dynamodb_gb_month", stored)
    bill.add("DynamoDB", "point-in-time recovery", "dynamodb_backup_gb_month", stored)


def _lake(bill: _Bill, records_s: float, bytes_s: float) -> None:
    rounded = ceil(bytes_s / records_s / (5 * KB)) * 5 * KB
    bill.add("Firehose", "raw records, rounded to 5 KB each", "firehose_gb", records_s * rounded * SECONDS / GB)
    month = bytes_s * SECONDS / GB
    bill.add("S3", "newest month, all layers", "s3_gb_month", month * (1 + LAYERS * LAYER_SHARE))
    bill.add("S3", f"{MONTHS - 1} months, archived", "s3_archive_gb_month", month * (1 + LAYER_SHARE) * (MONTHS - 1))
    bill.add("S3", "objects written, one a minute and 64 MB", "s3_put", HOURS * 60 + month * 1000 / 64)
    bill.add("Fargate", "Dagster, 1 vCPU", "fargate_vcpu_hour", HOURS)
    bill.add("Fargate", "Dagster, 4 GB", "fargate_gb_hour", 4 * HOURS)


def _archive(bill: _Bill, load: Load, shards: int, bytes_s: float) -> None:
    batches_s = max(shards / ARCHIVE_WINDOW_S, bytes_s / BATCH_BYTES)
    busy_s = load.updates_s / ARCHIVED_PER_CORE_S + batches_s * BATCH_OVERHEAD_S
    bill.add("Lambda", f"archive, {busy_s:.2f} cores busy", "lambda_gb_second", busy_s * ARCHIVE_GB * SECONDS)
    bill.add("S3", f"archive, {batches_s * 60:.0f} batches a minute", "s3_put", FILE_REQUESTS * batches_s * SECONDS)


def _watching(bill: _Bill, invocations_s: float) -> None:
    judging_s = JUDGING_S / 60 * SECONDS
    bill.add("Lambda", "the city judged, each minute", "lambda_gb_second", judging_s * LAMBDA_GB)
    alerts = ALERTS_PER_DAY * HOURS / 24
    bill.add("CloudWatch", f"{METRICS} metrics", "cloudwatch_metric_month", METRICS)
    bill.add("CloudWatch", f"{ALARMS} alarms", "cloudwatch_alarm_month", ALARMS)
    bill.add("CloudWatch", "logs, 1.5 KB an invocation", "cloudwatch_logs_gb", invocations_s * SECONDS * 1.5 * KB / GB)
    bill.add("KMS", f"{KEYS} keys", "kms_key_month", KEYS)
    bill.add("KMS", "requests", "kms_request", SECONDS)  # about one a second: data keys are reused
    bill.add("Alerts", f"{ALERTS_PER_DAY:,} events a day", "eventbridge_event", alerts)
    bill.add("Alerts", "queues, ten requests an event", "sqs_request", 10 * alerts)
