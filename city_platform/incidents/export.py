"""The export of incident changes: CSV and typed Parquet with the same rows, a partition a day, a manifest last.

    exports/incidents/year=2026/month=03/day=09/{content}.parquet and .csv     the rows of one export
    manifests/exports/incidents/2026-03-09/{sequence}.json                    all files of the day; the highest counts

An export is a handful of steps that a state machine runs (`infrastructure/state_machines/incident_export.asl.json`),
or `export_once` on this machine: lock, list, export a day, write manifests, verify, tell, clear, notify, unlock. Each
can be killed after any side effect and run again. Files are named by their rows; a manifest is published where the one
before it is still the newest, and after that one was told of; a job is deleted after its rows are in a manifest and
ExportCompleted was told of it. A row that the day has already is left out, so however often a change is delivered it is
in the lake once.
"""

import csv
import hashlib
import io
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from city_platform.errors import PermanentError, TransientError
from city_platform.events import publish
from city_platform.incidents.codec import rfc3339
from city_platform.incidents.events import export_completed
from city_platform.incidents.segments import Job, Segments, UnreadableJob, UnreadableSegment
from city_platform.incidents.stream import Row
from city_platform.lake.lake import Lake, PublishedMeanwhile
from city_platform.lake.manifest import Manifest, StoredFile
from city_platform.ports import Claims, ClaimState, Clock, EventBus, Message, Notifier, ObjectNotFound, Queue

if TYPE_CHECKING:
    import pyarrow as pa

LAYER, DATASET = "exports", "incidents"
LOCK = "incident-export"
LEASE = timedelta(minutes=15)  # how long an export has the lock: longer than the state machine may take
_TELLING = timedelta(minutes=1)  # longer than a bus takes, attempts included
_WORKING = 0.9  # of the lease, for its jobs: they come back first, so whoever has the lock next finds them
JOBS_AT_ONCE = 200  # what a state machine's input holds: 256 KiB
ROWS_AT_ONCE = 50_000
BYTES_AT_ONCE = 64 << 20
_NAME_DIGITS = 24  # of the SHA-256 in a file's name

State = Mapping[str, Any]


class ExportRunning(TransientError):
    """Another export has the lock; it takes this one's jobs along, or the next one does."""


class ExportDamaged(PermanentError):
    """What was published cannot be read back as it was written."""


@dataclass(frozen=True, slots=True)
class IncidentExport:
    """The steps. Their arguments and results are plain JSON, for a state machine to pass on."""

    lake: Lake
    jobs: Queue
    claims: Claims
    notifier: Notifier
    bus: EventBus
    clock: Clock
    lease: timedelta = LEASE

    def lock(self, holder: str) -> State:
        """Raises ExportRunning."""
        if self.claims.claim(LOCK, holder, self.clock.now() + self.lease) is not ClaimState.TAKEN:
            raise ExportRunning("another incident export is running")
        return {"holder": holder}

    def list(self) -> State:
        """What waits, by day: `days` to export, and the `messages` that announced it.

        Messages that are no jobs stay, and after some more attempts the queue puts them with its dead letters.
        """
        found: dict[str, list[tuple[Job, Message]]] = defaultdict(list)
        rows = size = count = 0
        while count < JOBS_AT_ONCE and rows < ROWS_AT_ONCE and size < BYTES_AT_ONCE:
            messages = self.jobs.receive(min(10, JOBS_AT_ONCE - count), self.lease * _WORKING)
            if not messages:
                break
            count += len(messages)
            for message in messages:
                try:
                    job = Job.from_json(message.body)
                except UnreadableJob:
                    continue
                found[job.day].append((job, message))
                rows, size = rows + job.rows, size + job.bytes
        return {
            "days": [
                {
                    "day": day,
                    "segments": sorted({job.segment for job, _ in jobs}),
                    "messages": [{"id": one.id, "receipt": one.receipt, "segment": job.segment} for job, one in jobs],
                }
                for day, jobs in sorted(found.items())
            ]
        }

    def export(self, day: State) -> State:
        """Writes the day's files: those rows of its segments that the day does not have yet.

        A segment that cannot be read is left out and named; its job stays for the dead letters.
        """
        name = str(day["day"])
        newest = self.lake.latest(LAYER, DATASET, name)
        rows: dict[str, Row] = {}
        read = 0
        bad: list[str] = []
        for key in day["segments"]:
            try:
                segment = Segments(self.lake.store).read(key)
            except ObjectNotFound:
                continue  # its rows were exported, and it was removed, before its job was
            except UnreadableSegment:
                bad.append(key)
                continue
            read += len(segment)
            for row in segment:
                rows.setdefault(row.event_id, row)
        known = self._exported(newest)
        fresh = sorted(
            (row for row in rows.values() if row.event_id not in known), key=lambda row: (row.changed_at, row.event_id)
        )
        done: dict[str, Any] = {**day, "base": newest.sequence if newest else 0, "read": read, "rows": len(fresh)}
        done |= {"unreadable": bad, "files": {}}
        if fresh:
            content = hashlib.sha256("\n".join(row.event_id for row in fresh).encode()).hexdigest()
            stem = f"{_folder(name)}/{content[:_NAME_DIGITS]}"
            for kind, data in (("parquet", _parquet(fresh)), ("csv", _csv(fresh))):
                self.lake.store.put(f"{stem}.{kind}", data)
                digest = hashlib.sha256(data).hexdigest()
                done["files"][kind] = asdict(StoredFile(f"{stem}.{kind}", len(data), digest, len(fresh)))
            numbers = sorted(row.sequence for row in fresh if row.sequence)
            done["sequence"] = {"first": numbers[0], "last": numbers[-1]} if numbers else {}
        return done

    def write_manifests(self, days: Sequence[State]) -> State:
        """Publishes what was written, a manifest a day. Raises PublishedMeanwhile: then export again from the list."""
        return {"published": [self._publish(one) for one in days if one["rows"]]}

    def verify(self, published: Sequence[State]) -> State:
        """Reads the new files back. Raises ExportDamaged."""
        for one in published:
            manifest = self.lake.require(LAYER, DATASET, str(one["day"]))
            self._verify(manifest, {kind: file["key"] for kind, file in one["files"].items()}, one["rows"])
        return {"verified": len(published)}

    def tell(self, days: Sequence[State]) -> State:
        """Publishes ExportCompleted of each day's newest manifest, unless that was done. Raises the bus's errors."""
        newest = [self.lake.latest(LAYER, DATASET, str(one["day"])) for one in days]
        return {"told": sum(self._tell(manifest) for manifest in newest if manifest)}

    def clear(self, days: Sequence[State]) -> State:
        """Removes the segments that were exported, and then the jobs that announced them."""
        dealt_with = [
            (one["id"], one["receipt"], one["segment"])
            for day in days
            for one in day["messages"]
            if one["segment"] not in day["unreadable"]
        ]
        Segments(self.lake.store).remove(sorted({segment for _, _, segment in dealt_with}))
        now = self.clock.now()
        self.jobs.delete([Message(name, "", None, now, 0, receipt) for name, receipt, _ in dealt_with])
        return {"cleared": len(dealt_with)}

    def notify(self, days: Sequence[State], holder: str) -> State:
        """Tells people what needs them, which a usual export does not: segments that cannot be read, and late days."""
        today = self.clock.now().astimezone(UTC).date()
        late = [
            one["day"] for one in days if one["rows"] and date.fromisoformat(one["day"]) < today - timedelta(days=1)
        ]
        bad = [key for one in days for key in one["unreadable"]]
        lines = [f"{day}: changes came late; what was made of that day is to be made again" for day in late]
        lines += [f"{key} cannot be read; its job goes to the dead letters" for key in bad]
        if lines:
            self.notifier.notify("Incident export: something to look at", "\n".join(lines), once=f"{LOCK}#{holder}")
        return {"notified": len(lines)}

    def rewrite(self, day: str, holder: str, change: Callable[[Row], Row]) -> Manifest | None:
        """Publishes a day anew with its rows as `change` has them; None where that is as they are.

        For what has to go from the lake; the files of before are for the caller to remove. Raises ExportRunning,
        PublishedMeanwhile.
        """
        import pyarrow.parquet as pq

        self.lock(holder)
        try:
            newest = self.lake.require(LAYER, DATASET, day)
            parts: dict[str, list[StoredFile]] = {"parquet": [], "csv": []}
            pairs = zip(*(newest.parts[kind] for kind in parts), strict=True)
            for before, path in zip(pairs, self.lake.paths(newest, "parquet"), strict=True):
                found = [
                    msgspec.convert(list(row.values()), Row, strict=False) for row in pq.read_table(path).to_pylist()
                ]
                rows = [change(row) for row in found]
                same = rows == found
                for kind, old in zip(parts, before, strict=True):
                    parts[kind].append(old if same else self._stored(day, kind, rows))
            if parts == {kind: list(newest.parts[kind]) for kind in parts}:
                return None
            return self.lake.publish(
                LAYER,
                DATASET,
                day,
                inputs={},
                parts=parts,
                counts=newest.counts,
                schema=newest.schema,
                details={**newest.details, "rewritten_at": rfc3339(self.clock.now())},
                base=newest.sequence,
            )
        finally:
            self.unlock(holder)

    def _stored(self, day: str, kind: str, rows: Sequence[Row]) -> StoredFile:
        """Under a name made of its bytes: the rows are those of another file, and two must not share a name."""
        data = _parquet(rows) if kind == "parquet" else _csv(rows)
        digest = hashlib.sha256(data).hexdigest()
        key = f"{_folder(day)}/{digest[:_NAME_DIGITS]}.{kind}"
        self.lake.store.put(key, data)
        return StoredFile(key, len(data), digest, len(rows))

    def unlock(self, holder: str) -> State:
        return {"released": self.claims.release(LOCK, holder)}

    def failed(self, holder: str, error: str) -> State:
        """Tells people that an export failed, and lets the next one begin. Its jobs come back by themselves."""
        body = f"{error}\n\nNothing is lost: the jobs come back, and the next export takes them."
        self.notifier.notify("Incident export failed", body, once=f"{LOCK}#{holder}#failed")
        return self.unlock(holder)

    def _exported(self, manifest: Manifest | None) -> set[str]:
        """The names of the day's changes that are in the lake."""
        import pyarrow.parquet as pq

        known: set[str] = set()
        if manifest is not None:
            for path in self.lake.paths(manifest, "parquet"):
                known.update(pq.read_table(path, columns=["event_id"])["event_id"].to_pylist())
        return known

    def _verify(self, manifest: Manifest, keys: Mapping[str, str], rows: int) -> None:
        import pyarrow.parquet as pq

        ids: dict[str, list[str]] = {}
        for kind in ("parquet", "csv"):
            file = next((it for it in manifest.parts[kind] if it.key == keys[kind]), None)
            data = self.lake.store.get(file.key) if file else b""
            if file is None or hashlib.sha256(data).hexdigest() != file.sha256:
                raise ExportDamaged(f"{keys[kind]} is not what its manifest says")
            if kind == "parquet":
                ids[kind] = pq.read_table(io.BytesIO(data), columns=["event_id"])["event_id"].to_pylist()
            else:
                lines = csv.DictReader(io.StringIO(data.decode(), newline=""))
                ids[kind] = [line["event_id"] for line in lines]
        if ids["parquet"] != ids["csv"] or len(ids["csv"]) != rows:
            raise ExportDamaged(f"the CSV and the Parquet of {manifest.partition} do not hold the same rows")

    def _tell(self, manifest: Manifest, *, verified: bool = True) -> bool:
        """Whether a manifest was told of now. Who tells it does not claim it for himself: two at once repeat it."""
        event = export_completed(manifest, self.lake.manifest_uri(manifest))
        name = f"event#{event.alert_id}"
        if self.claims.claim(name, name, self.clock.now() + _TELLING) is ClaimState.DONE:
            return False
        if not verified:
            files = {kind: parts[-1] for kind, parts in manifest.parts.items()}
            self._verify(manifest, {kind: file.key for kind, file in files.items()}, files["csv"].rows)
        publish(self.bus, event, manifest.published_at)
        self.claims.finish(name, name)
        return True

    def _publish(self, done: State) -> State:
        day = str(done["day"])
        files = {kind: StoredFile(**file) for kind, file in done["files"].items()}
        manifest = self.lake.latest(LAYER, DATASET, day)
        if manifest is None or not set(files.values()) & set(manifest.files):  # else: killed after it was published
            if done["base"] != (manifest.sequence if manifest else 0):
                raise PublishedMeanwhile(f"another export published {day} first; export it again from the list")
            if manifest is not None:
                self._tell(manifest, verified=False)  # whoever published it may have been killed before he told it
            before: Mapping[str, Sequence[StoredFile]] = manifest.parts if manifest else {}
            manifest = self.lake.publish(
                LAYER,
                DATASET,
                day,
                inputs={},
                parts={kind: [*before.get(kind, ()), file] for kind, file in files.items()},
                counts={
                    "rows": (manifest.counts["rows"] if manifest else 0) + done["rows"],
                    "added": done["rows"],
                    "delivered_again": done["read"] - done["rows"],
                },
                schema=[(field.name, str(field.type)) for field in arrow_schema()],
                details={"sequence": done["sequence"], "segments": done["segments"]},
                base=done["base"],
            )
        return {
            "day": day,
            "sequence": manifest.sequence,
            "version": manifest.version,
            "rows": done["rows"],
            "files": done["files"],
        }


def export_once(export: IncidentExport, holder: str) -> State:
    """All steps, on this machine. Raises ExportRunning and the errors of the steps, after telling of them."""
    export.lock(holder)
    try:
        days = [export.export(day) for day in export.list()["days"]]
        published = export.write_manifests(days)["published"]
        export.verify(published)
        export.tell(days)
        export.clear(days)
        export.notify(days, holder)
    except (PermanentError, TransientError) as error:
        export.failed(holder, f"{type(error).__name__}: {error}")
        raise
    export.unlock(holder)
    return {"published": published}


@cache
def arrow_schema() -> "pa.Schema":
    """The columns of the Parquet files, in the order of Row's fields."""
    import pyarrow as pa

    kinds: Mapping[str, pa.DataType] = {
        **dict.fromkeys(("schema_version", "version", "supporters", "media"), pa.int32()),
        **dict.fromkeys(("lat", "long"), pa.float64()),
        **dict.fromkeys(("assigned", "expired"), pa.bool_()),
        **dict.fromkeys((name for name in Row.__struct_fields__ if name.endswith("_at")), pa.timestamp("ms", tz="UTC")),
    }
    return pa.schema([pa.field(name, kinds.get(name, pa.string())) for name in Row.__struct_fields__])


def _folder(day: str) -> str:
    year, month, number = day.split("-")
    return f"{LAYER}/{DATASET}/year={year}/month={month}/day={number}"


def _parquet(rows: Sequence[Row]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = arrow_schema()
    arrays = [pa.array((getattr(row, field.name) for row in rows), field.type) for field in schema]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), sink, compression="snappy", version="2.6")
    return bytes(sink.getvalue())


def _csv(rows: Sequence[Row]) -> bytes:
    """RFC 4180 with a header; a missing value is empty, times are RFC 3339."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    names = Row.__struct_fields__
    writer.writerow(names)
    writer.writerows([_cell(getattr(row, name)) for name in names] for row in rows)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return rfc3339(value)
    return str(value).lower() if isinstance(value, bool) else value
