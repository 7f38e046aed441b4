"""The path of incidents' changes for tests: a store with changes, and what takes them to the lake."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from city_platform.deployment import IncidentPath, open_incident_path
from city_platform.incidents.model import Incident
from city_platform.lake.lake import Lake
from city_platform.local.incident_stream import SqliteIncidentStream, stream_record
from city_platform.local.incidents import LoggedChange, SqliteIncidentRepository
from city_platform.local.platform import local_platform
from city_platform.local.runner import EventSourceMapping
from tests.incidents import NOW, change
from tests.town import StandingClock


@dataclass
class Town:
    """A store, its stream, and the path to a lake, all below one folder."""

    home: Path
    clock: StandingClock
    store: SqliteIncidentRepository
    stream: SqliteIncidentStream
    path: IncidentPath
    lake: Lake

    @classmethod
    def at(cls, home: Path) -> "Town":
        clock = StandingClock(NOW)
        store = SqliteIncidentRepository(home / "incidents" / "incidents.sqlite", clock)
        platform = local_platform(home, clock, threads=1)
        path = open_incident_path(home, platform, {})
        return cls(home, clock, store, SqliteIncidentStream(store), path, platform.lake)

    def write(self, after: Incident, before: Incident | None = None) -> Incident:
        self.store.write([change(after, before)])
        return after

    def mapping(
        self, handle: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None, **settings: Any
    ) -> EventSourceMapping:
        return EventSourceMapping(
            self.stream,
            "lake",
            handle or (lambda event: self.path.processor.process(event).partial_answer()),
            lambda record, reason: self.path.dead_letters.keep([(record, reason)]),
            sleep=lambda _: None,
            **settings,
        )

    def exported(self) -> Iterator[dict[str, Any]]:
        """The rows of all published days."""
        for day in self.lake.partitions("exports", "incidents"):
            manifest = self.lake.require("exports", "incidents", day)
            rows = pa.concat_tables([pq.read_table(one) for one in self.lake.paths(manifest, "parquet")]).to_pylist()
            assert manifest.counts["rows"] == len(rows)
            yield from rows

    def names(self) -> list[str]:
        return sorted(row["event_id"] for row in self.exported())


def following(before: Incident, **changes: Any) -> Incident:
    return replace(before, version=before.version + 1, **changes)


def record(after: Incident | None, before: Incident | None = None, sequence: int = 1) -> dict[str, Any]:
    """The stream record of a change."""
    from city_platform.incidents import codec

    some = after or before
    assert some is not None
    old, new = (codec.to_item(one) if one else None for one in (before, after))
    return stream_record(LoggedChange(sequence, codec.rfc3339(some.updated_at), some.incident_id, old, new))
