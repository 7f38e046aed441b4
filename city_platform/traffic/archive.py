"""Every valid reading in the lake, late ones too: a second reader of the stream, beside the live windows.

    exports/traffic_readings/hour=2026-05-28-13/{content}.parquet        readings measured in that hour of UTC
    manifests/exports/traffic_readings/2026-05-28-13/{sequence}.json     all files of the hour; the highest counts

Files come first, named by their content; then each hour's manifest, published on the one that was looked at; then the
reader's place in the stream. Whoever dies in between is followed by somebody who writes the same readings again, and a
file that an hour lists already is not listed twice. So a reading is there at least once, and the layer `cleaned` keeps
one of each identity. What is no valid reading is counted here and kept, with its reason, by the handler of the live
windows.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from city_platform.contracts.partitions import Granularity, partition_folder
from city_platform.lake.lake import Lake, PublishedMeanwhile, StagedFile
from city_platform.lake.manifest import StoredFile
from city_platform.lake.sink import ParquetSink, workspace
from city_platform.traffic.frames import Decoder
from city_platform.traffic.registry import Registry
from city_platform.traffic.stream import EventStream, StreamRecord
from city_platform.traffic.telemetry import MISSING, Readings, Reason, validate

LAYER, DATASET, PARQUET = "exports", "traffic_readings", "parquet"
READER = "lake"  # the archive's name among the stream's readers
HOUR_MS = 3_600_000
READINGS_AT_ONCE = 250_000  # decoded together: about 100 bytes each
READINGS_A_FILE = 8_000_000  # of all hours together: then they are published, whatever time it is
OPEN_HOURS = 48  # a file each, with two row groups that wait; a stream that is read again may hold a week
RECORDS_A_READ = 500
ATTEMPTS = 12  # at one hour's manifest against other archives
_NAME_DIGITS = 24  # of the SHA-256 in a file's name
_PAUSE = 0.05  # seconds, before the first repetition


class Followed(EventStream, Protocol):
    """A stream that knows how far its readers are. Errors: those of EventStream."""

    def checkpoint(self, reader: str, shard: str) -> str | None:
        """The last sequence number the reader has dealt with; None: nothing yet."""
        ...

    def dealt_with(self, reader: str, shard: str, sequence: str) -> None:
        """Everything of the shard up to and with that number is done, for good."""
        ...


@dataclass(slots=True)
class Archived:
    """What became of records: their readings by the hour they were measured in, and how many were no valid ones."""

    records: int = 0
    hours: dict[str, int] = field(default_factory=dict)
    refused: dict[Reason, int] = field(default_factory=dict)

    @property
    def readings(self) -> int:
        return sum(self.hours.values())

    def add(self, other: "Archived") -> None:
        self.records += other.records
        for hour, count in other.hours.items():
            self.hours[hour] = self.hours.get(hour, 0) + count
        for reason, count in other.refused.items():
            self.refused[reason] = self.refused.get(reason, 0) + count


@dataclass(frozen=True, slots=True)
class TrafficArchive:
    """Writes readings into the lake. Many archives may write at the same time."""

    lake: Lake
    registry: Registry
    sleep: Callable[[float], None] = time.sleep

    @contextmanager
    def filing(self) -> Iterator["Filing"]:
        """Files in the making. What was not published when it ends is gone."""
        with workspace(self.lake) as folder, ExitStack() as open_files:
            yield Filing(self, folder, open_files)

    def file(self, records: Sequence[StreamRecord]) -> Archived:
        """Takes records to the lake; when it returns, all of their valid readings are there.

        Raises PublishedMeanwhile and the errors of the object store: then the same records again.
        """
        with self.filing() as filing:
            filing.add(records)
            return filing.publish()

    def list_file(self, hour: str, stored: StoredFile) -> None:
        """Makes a file one of the hour's, if it is not yet. Raises PublishedMeanwhile where others always win."""
        for attempt in range(ATTEMPTS):
            newest = self.lake.latest(LAYER, DATASET, hour)
            listed = list(newest.parts[PARQUET]) if newest else []
            if stored in listed:
                return
            try:
                self.lake.publish(
                    LAYER,
                    DATASET,
                    hour,
                    inputs={},
                    parts={PARQUET: [*listed, stored]},
                    counts={"rows": sum(file.rows for file in listed) + stored.rows, "added": stored.rows},
                    schema=[(one.name, str(one.type)) for one in arrow_schema()],
                    base=newest.sequence if newest else 0,
                )
            except PublishedMeanwhile:
                if attempt == ATTEMPTS - 1:
                    raise
                self.sleep(_PAUSE * 2**attempt * random.random())  # noqa: S311 -- apart from each other, not secret
            else:
                return


class Filing:
    """Readings on their way into the lake: an open file for each hour, in the scratch folder."""

    def __init__(self, archive: TrafficArchive, folder: Path, open_files: ExitStack) -> None:
        self._archive, self._folder, self._open_files = archive, folder, open_files
        self._sinks: dict[str, ParquetSink] = {}
        self._rows = 0
        self._told = Archived()

    def is_full(self) -> bool:
        """Whether it is time to publish, so that files and memory stay within their bounds."""
        return self._rows >= READINGS_A_FILE or len(self._sinks) > OPEN_HOURS

    @property
    def empty(self) -> bool:
        return not self._told.records

    def add(self, records: Sequence[StreamRecord]) -> None:
        """Takes records; what they hold is in the lake after `publish`, and not before."""
        decoder = Decoder(self._archive.registry)
        for place, record in enumerate(records):
            decoder.add(place, record.data, record.arrival_ms, record.key)
            if decoder.count >= READINGS_AT_ONCE:
                self._take(decoder)
                decoder = Decoder(self._archive.registry)
        self._take(decoder)
        self._told.records += len(records)

    def add_readings(self, readings: Readings) -> None:
        """Takes readings that are decoded already; invalid ones are counted, as `add` does."""
        valid = np.ones(len(readings), dtype=bool)
        for reason, rows in validate(readings, self._archive.registry).items():
            self._refuse(reason, len(rows))
            valid[rows] = False
        if not valid.all():
            readings = readings.take(valid)
        if not len(readings):
            return
        number = readings.ts_ms // HOUR_MS
        for one in np.unique(number).tolist():
            of_hour = number == one
            self._write(one, readings if of_hour.all() else readings.take(of_hour))

    def publish(self) -> Archived:
        """Ends the files and lists them in their hours' manifests, the oldest hour first."""
        lake = self._archive.lake
        for hour, sink in sorted(self._sinks.items()):
            (staged,) = sink.finish()
            stored = _stored(hour, staged)
            lake.store.put_file(stored.key, staged.path)
            self._archive.list_file(hour, stored)
            self._told.hours[hour] = staged.rows
        return self._told

    def _take(self, decoder: Decoder) -> None:
        readings = decoder.readings()
        for refused in decoder.refused:
            self._refuse(refused.reason, len(refused.rows or (0,)))
        if readings is not None:
            self.add_readings(readings)

    def _write(self, number: int, readings: Readings) -> None:
        hour = hour_name(number * HOUR_MS)
        if hour not in self._sinks:
            sink = ParquetSink(self._folder / f"{hour}.parquet", arrow_schema())
            self._sinks[hour] = self._open_files.enter_context(sink)
        self._sinks[hour].write(as_batch(readings, self._archive.registry))
        self._rows += len(readings)

    def _refuse(self, reason: Reason, count: int) -> None:
        self._told.refused[reason] = self._told.refused.get(reason, 0) + count


def follow(
    archive: TrafficArchive,
    stream: Followed,
    due: Callable[[int], bool],
    published: Callable[[Archived], None] = lambda _: None,
) -> Archived:
    """Takes what the stream holds to the lake, from where the archive was, until nothing waits or `due`.

    `due` hears after each turn over the shards how many records it brought, 0 of a stream that has no more, and says
    whether to publish and end; `published` hears of what was published meanwhile because files were full. Raises the
    errors of the stream, PublishedMeanwhile and those of the object store: nothing is lost, the next call begins where
    the last one had published.
    """
    total = Archived()
    places = {shard: stream.checkpoint(READER, shard) for shard in stream.shards()}
    ended = False
    while not ended:
        with archive.filing() as filing:
            reached: dict[str, str] = {}
            while not (ended or filing.is_full()):
                taken = _turn(stream, filing, places | reached)
                reached |= {shard: records[-1].sequence for shard, records in taken.items()}
                ended = due(sum(map(len, taken.values())))
            if filing.empty:
                continue
            done = filing.publish()
        for shard, sequence in reached.items():
            stream.dealt_with(READER, shard, sequence)
        places |= reached
        total.add(done)
        published(done)
    return total


def _turn(stream: Followed, filing: Filing, places: Mapping[str, str | None]) -> dict[str, Sequence[StreamRecord]]:
    """Takes once from every shard until the files are full; what was taken, of those that had anything."""
    taken: dict[str, Sequence[StreamRecord]] = {}
    for shard, place in places.items():
        if filing.is_full():
            break
        records = stream.read(shard, place, RECORDS_A_READ)
        if records:
            filing.add(records)
            taken[shard] = records
    return taken


def hour_name(ts_ms: int) -> str:
    """The hour of UTC that an instant (epoch ms) lies in, as partitions are named."""
    return time.strftime(Granularity.HOUR.strftime, time.gmtime(ts_ms // 1000))


@cache
def arrow_schema() -> pa.Schema:
    """The columns of the files, in their order; what is missing is null."""
    instant = pa.timestamp("ms", tz="UTC")
    return pa.schema(
        [
            ("sensor", pa.int32()),
            ("seq", pa.int64()),
            ("zone", pa.string()),
            ("measured_at", instant),
            ("arrived_at", instant),
            ("interval_s", pa.int32()),
            ("vehicles", pa.int32()),
            ("speed_x10", pa.int32()),
            ("occupancy_x1000", pa.int32()),
            ("index_x1000", pa.int32()),
        ]
    )


def as_batch(readings: Readings, registry: Registry) -> pa.RecordBatch:
    """Valid readings in the columns of `arrow_schema`."""

    def whole(values: NDArray[np.int64]) -> pa.Array:
        return pa.array(values.astype(np.int32), mask=values == MISSING)

    zone = pa.DictionaryArray.from_arrays(registry.zone[readings.sensor], pa.array(registry.zones))
    instant = arrow_schema().field("measured_at").type
    columns = [
        pa.array(registry.number[readings.sensor]),
        pa.array(readings.seq),
        zone.dictionary_decode(),
        pa.array(readings.ts_ms).cast(instant),
        pa.array(readings.arrival_ms).cast(instant),
        whole(readings.interval_s),
        whole(readings.vehicle_count),
        whole(readings.speed_x10),
        whole(readings.occupancy_x1000),
        whole(readings.index_x1000),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=arrow_schema())


def _stored(hour: str, staged: StagedFile) -> StoredFile:
    key = f"{LAYER}/{DATASET}/{partition_folder(hour)}/{staged.sha256[:_NAME_DIGITS]}.parquet"
    return StoredFile(key, staged.path.stat().st_size, staged.sha256, staged.rows)
