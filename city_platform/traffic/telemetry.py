"""What a sensor may say: the message's schema (version 1), readings as columns, and why a reading is refused.

Quantities are integers in fixed point, because sums of floats change with their order: speed in tenths of a km/h,
occupancy and congestion index in thousandths; -1 where there is none.
"""

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from city_platform.traffic.registry import Registry

FUTURE_MS = 5 * 60_000  # a sensor's clock may be this much ahead of the stream's
ANCIENT_MS = 24 * 3_600_000  # and a reading this old
MAX_VEHICLES = 10_000
MAX_SPEED_X10 = 2_500
MAX_INTERVAL_S = 300
MAX_MESSAGE_READINGS = 60
MAX_MESSAGE_BYTES = 128 * 1024
MISSING = -1
UNKNOWN_ZONE = -1  # a zone there is none of
NO_CLAIM = -2  # the message names no zone
UNREADABLE = 2**30  # stands for a number no column holds; every range refuses it
_PERCENT_PER_UNIT = 100
# Identities of readings without a sequence number: above every sequence number, and in the order of time.
BY_TIME = 2**58
_LANES = 16

Sequence = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, lt=2**48)]
Count = Annotated[int, msgspec.Meta(ge=-(2**30), le=2**30)]
Lane = Annotated[int, msgspec.Meta(ge=0, lt=_LANES)]


class Reason(StrEnum):
    """Why a record or a reading of it went to the dead letters."""

    ENCODING = "encoding"  # not base64, or an event's record without what one has
    COMPRESSION = "compression"  # not zlib, cut off, or followed by something else
    TOO_LARGE = "too_large"  # more bytes or readings than one record may hold, packed or inflated
    SCHEMA = "schema"  # not the message's schema
    TOPIC = "topic_mismatch"  # the topic names another sensor or zone than the message
    UNKNOWN_SENSOR = "unknown_sensor"
    ZONE = "zone_mismatch"  # the sensor stands in another zone than the message says
    FUTURE = "future"
    ANCIENT = "ancient"
    VEHICLE_COUNT = "vehicle_count"
    SPEED = "speed"
    SPEED_WITHOUT_VEHICLES = "speed_without_vehicles"  # a speed and no vehicle, or vehicles and no speed
    OCCUPANCY = "occupancy"
    INDEX = "congestion_index"
    INTERVAL = "interval"
    TOO_MANY = "too_many_readings"  # of one zone in one window, outside the expected order
    UNHANDLED = "unhandled"  # the handler failed at it, whatever it was: a defect


class Reading(msgspec.Struct, gc=False):
    """One reading with its sensor, as lines of an NDJSON frame are. `ts` is epoch milliseconds."""

    sensor_id: str
    seq: Sequence
    ts: Milliseconds
    vehicle_count: Count
    avg_speed_kmh: float | None
    congestion_index: float | None = None
    zone_id: str | None = None
    occupancy: float | None = None
    interval_s: Count = 10


class MessageReading(msgspec.Struct):
    """One of a message's readings. `ts` is RFC 3339 or epoch milliseconds; the speed has either name."""

    ts: Milliseconds | str
    vehicle_count: Count
    avg_speed_kmh: float | msgspec.UnsetType | None = msgspec.UNSET
    speed: float | msgspec.UnsetType | None = msgspec.UNSET
    seq: Sequence | None = None
    congestion_index: float | None = None
    occupancy: float | None = None
    interval_s: Count = 10
    lane: Lane = 0


class BareReading(MessageReading, kw_only=True):
    """A message of a single reading, down to sensor, time, vehicles and speed."""

    sensor_id: str
    zone_id: str | None = None


class Message(msgspec.Struct):
    """A sensor's message, version 1: up to sixty readings. What it says of battery and firmware is not read here."""

    v: Annotated[int, msgspec.Meta(ge=1, le=1)]
    sensor_id: str
    zone_id: str
    readings: list[MessageReading]


class Topic(msgspec.Struct):
    """What the rule that takes single messages from MQTT adds: sensor and zone as the topic has them."""

    topic_sensor: str | None = None
    topic_zone: str | None = None


@dataclass(slots=True)
class Readings:
    """Readings as columns of one length, before and after validation.

    `sensor` is a registry index (-1 unknown), `zone` the zone it claims (-1 unknown zone, -2 no claim), `seq` its
    identity, `record` the place of its record in the batch, `row` its place in the record, `arrival_ms` when the
    stream took the record.
    """

    sensor: NDArray[np.int32]
    zone: NDArray[np.int32]
    seq: NDArray[np.int64]
    ts_ms: NDArray[np.int64]
    interval_s: NDArray[np.int64]
    vehicle_count: NDArray[np.int64]
    speed_x10: NDArray[np.int64]
    occupancy_x1000: NDArray[np.int64]
    index_x1000: NDArray[np.int64]
    arrival_ms: NDArray[np.int64]
    record: NDArray[np.int64]
    row: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.sensor)

    def take(self, chosen: NDArray[Any]) -> "Readings":
        """The chosen rows, by mask or by place."""
        return Readings(*(getattr(self, column.name)[chosen] for column in fields(self)))


def joined(parts: list[Readings]) -> Readings:
    """One after the other; `parts` is not empty."""
    if len(parts) == 1:
        return parts[0]
    return Readings(*(np.concatenate([getattr(part, column.name) for part in parts]) for column in fields(Readings)))


def identity_by_time(ts_ms: int, lane: int) -> int:
    """The identity of a reading that has no sequence number: its time and its lane."""
    return BY_TIME + ts_ms * _LANES + lane


def validate(readings: Readings, registry: Registry) -> dict[Reason, NDArray[np.int64]]:
    """The rows to refuse, by reason; a row has one, the first that holds. Brings congestion indexes to 0..1000."""
    known = readings.sensor >= 0
    sensor = np.where(known, readings.sensor, 0)
    percent = registry.percent[sensor]
    if percent.any():
        index = readings.index_x1000
        scaled = percent & (index != MISSING)
        rounded = (index + _PERCENT_PER_UNIT // 2) // _PERCENT_PER_UNIT
        # Rounding must not bring a number that is out of range into it.
        out = (index < 0) | (index > 1000 * _PERCENT_PER_UNIT)
        readings.index_x1000 = np.where(scaled, np.where(out, UNREADABLE, rounded), index)
    age = readings.arrival_ms - readings.ts_ms
    checks = {
        Reason.UNKNOWN_SENSOR: ~known,
        Reason.ZONE: (readings.zone != registry.zone[sensor]) & (readings.zone != NO_CLAIM),
        Reason.FUTURE: age < -FUTURE_MS,
        Reason.ANCIENT: age > ANCIENT_MS,
        Reason.VEHICLE_COUNT: outside(readings.vehicle_count, 0, MAX_VEHICLES),
        Reason.SPEED: outside(readings.speed_x10, MISSING, MAX_SPEED_X10),
        Reason.SPEED_WITHOUT_VEHICLES: (readings.vehicle_count == 0) != (readings.speed_x10 == MISSING),
        Reason.OCCUPANCY: outside(readings.occupancy_x1000, MISSING, 1000),
        Reason.INDEX: outside(readings.index_x1000, MISSING, 1000),
        Reason.INTERVAL: outside(readings.interval_s, 1, MAX_INTERVAL_S),
    }
    taken = np.zeros(len(readings), dtype=bool)
    refused = {}
    for reason, holds in checks.items():
        if holds.any():
            rows = np.flatnonzero(holds & ~taken)
            taken |= holds
            if len(rows):
                refused[reason] = rows
    return refused


def outside(values: NDArray[np.int64], low: int, high: int) -> NDArray[np.bool_]:
    """Which values are below `low` or above `high`."""
    return (values < low) | (values > high)
