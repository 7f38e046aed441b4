"""Public incidents as open data: every year as CSV, GeoJSON and Parquet with the same rows and columns.

The years lie in the lake like everything that is published, and are replaced as a whole: whoever downloads sees one
moment or the next, and what was hidden since is gone from the newest.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json

from city_platform.incidents.model import Incident
from city_platform.incidents.published import COLUMNS, NUMBER, TEXT, TIME, WHOLE, row
from city_platform.incidents.reference import Reference
from city_platform.incidents.repository import Count, Counted, NotCountedYet
from city_platform.incidents.roles import ANONYMOUS
from city_platform.incidents.service import IncidentService
from city_platform.incidents.window import Window
from city_platform.lake.lake import Lake, StagedFile
from city_platform.lake.manifest import Manifest
from city_platform.lake.sink import ParquetSink, workspace
from city_platform.protection.spreadsheet import escape

LAYER = "open_data"
DATASET = "incidents"
REVISION = "2"  # raise it when this module starts to write other rows from the same incidents
_COUNTS = "incidents_by_region_district_status_category"
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_ROWS_AT_ONCE = 4096
_TYPES = {TEXT: pa.string(), TIME: pa.timestamp("ms", "UTC"), NUMBER: pa.float64(), WHOLE: pa.int64()}
_SCHEMA = pa.schema([(name, _TYPES[kind]) for name, kind in COLUMNS.items()])


def publish(lake: Lake, service: IncidentService) -> Sequence[Manifest]:
    """Publishes every year of reports, by the city's calendar; what has not changed is not written again.

    Reads all incidents once and holds a few thousand at a time. Raises PublishedMeanwhile and the stores' errors.
    """
    reference = service.reference
    everything = service.reported(Window(_BEGINNING, lake.clock.now()), ANONYMOUS)
    published = {}
    for year, incidents in groupby(everything, key=lambda one: _year(one, reference)):
        published[year] = _publish(lake, reference, year, incidents)
    # A year whose last public report was hidden has to become empty.
    for year in set(lake.partitions(LAYER, DATASET)) - set(published):
        published[year] = _publish(lake, reference, year, iter(()))
    return [published[year] for year in sorted(published)]


@dataclass(frozen=True, slots=True)
class PublishedCounts:
    """Counts incidents as they were when they were published last: an IncidentCounter for stores that do not count."""

    lake: Lake

    def counts(self) -> Counted:
        """Adds up the years. Raises NotCountedYet, and the errors of the lake's store."""
        found = [self.lake.latest(LAYER, DATASET, year) for year in self.lake.partitions(LAYER, DATASET)]
        years = [one for one in found if one is not None and _COUNTS in one.details]
        if not years:
            raise NotCountedYet("incidents are counted when they are published as open data: publish them first")
        total: Counter[tuple[str, ...]] = Counter()
        for manifest in years:
            total.update(counts_of(manifest))
        counts = [
            Count(region, district, status, category, incidents)
            for (region, district, status, category), incidents in sorted(total.items())
        ]
        return Counted(max(one.published_at for one in years), counts)


def counts_of(manifest: Manifest) -> Mapping[tuple[str, ...], int]:
    """How many incidents a published year has, by region, district, status and category."""
    return {tuple(key): incidents for *key, incidents in manifest.details.get(_COUNTS, ())}


def _year(incident: Incident, reference: Reference) -> str:
    return str(incident.reported_at.astimezone(reference.zone).year)


def _publish(lake: Lake, reference: Reference, year: str, incidents: Iterator[Incident]) -> Manifest:
    counts: Counter[tuple[str, ...]] = Counter()
    with workspace(lake) as folder:
        files = _write(folder, reference, _counting(incidents, counts))
        return lake.publish(
            LAYER,
            DATASET,
            year,
            inputs={"revision": REVISION},
            parts={name: [file] for name, file in files.items()},
            counts={"rows": files["csv"].rows},
            schema=[(field.name, str(field.type)) for field in _SCHEMA],
            details={_COUNTS: [[*key, incidents] for key, incidents in sorted(counts.items())]},
        )


def _counting(incidents: Iterator[Incident], counts: Counter[tuple[str, ...]]) -> Iterator[Incident]:
    """Passes the incidents on, and counts them on their way."""
    for one in incidents:
        counts[one.region, one.district, one.status.value, one.category] += 1
        yield one


def _write(folder: Path, reference: Reference, incidents: Iterator[Incident]) -> Mapping[str, StagedFile]:
    paths = {name: folder / f"incidents.{name}" for name in ("csv", "geojson", "parquet")}
    with ExitStack() as stack:
        table = stack.enter_context(paths["csv"].open("w", encoding="utf-8", newline=""))
        places = stack.enter_context(paths["geojson"].open("w", encoding="utf-8"))
        parquet = stack.enter_context(ParquetSink(paths["parquet"], _SCHEMA, compression="snappy"))
        cells = csv.writer(table)
        cells.writerow(COLUMNS)
        places.write('{"type":"FeatureCollection","features":[')
        separator = "\n"
        rows = (row(one, reference) for one in incidents)
        while batch := list(islice(rows, _ROWS_AT_ONCE)):
            lines = [_json(one) for one in batch]
            cells.writerows(map(_cells, batch))
            for one, line in zip(batch, lines, strict=True):
                places.write(separator + _feature(one, line))
                separator = ",\n"
            parquet.write(_record_batch(lines))
        places.write("\n]}\n")
        (written,) = parquet.finish()
    return {name: written if name == "parquet" else StagedFile.of(path, written.rows) for name, path in paths.items()}


def _cells(values: Mapping[str, Any]) -> Sequence[Any]:
    """RFC 4180 has no null: an empty cell. Texts that a spreadsheet would run as formulas are escaped."""
    return [escape(value) if isinstance(value, str) else value for value in values.values()]


def _feature(values: Mapping[str, Any], line: str) -> str:
    """RFC 7946: longitude first; a report without coordinates is a feature without geometry. `line` is all of it."""
    lat, long = values["lat"], values["long"]
    place = "null" if lat is None or long is None else f'{{"type":"Point","coordinates":[{long!r},{lat!r}]}}'
    return f'{{"type":"Feature","id":"{values["service_request_id"]}","geometry":{place},"properties":{line}}}'


def _record_batch(lines: Sequence[str]) -> pa.RecordBatch:
    # Arrow's own reader of JSON lines makes the columns: building them of Python lists would import pandas.
    text = "\n".join(lines).encode()
    options = pyarrow.json.ParseOptions(explicit_schema=_SCHEMA, unexpected_field_behavior="error")
    whole = pyarrow.json.ReadOptions(block_size=len(text) + 1, use_threads=False)
    return pyarrow.json.read_json(io.BytesIO(text), whole, options).combine_chunks().to_batches()[0]


_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
