"""Tables of a few rows that are made of many partitions, or of what is outside the lake: written whole, a file each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from city_platform.lake.manifest import Manifest
from city_platform.lake.sink import ParquetSink, workspace
from city_platform.layers.platform import Platform

PARQUET = "parquet"  # the part of whoever publishes one table


@dataclass(frozen=True, slots=True)
class Table:
    """Rows, and Arrow's type of each of their columns."""

    schema: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]


def publish_tables(
    platform: Platform,
    layer: str,
    dataset: str,
    partition: str,
    *,
    tables: Mapping[str, Table],
    inputs: Mapping[str, str],
    counts: Mapping[str, int] | None = None,
    details: Mapping[str, Any] | None = None,
) -> Manifest:
    """Publishes each table as a Parquet file, a part of its name; `counts` beside the rows.

    Raises PublishedMeanwhile and the errors of the object store.
    """
    parts = {}
    with workspace(platform.lake) as folder:
        for name, table in tables.items():
            schema = pa.schema(list(table.schema.items()))
            with ParquetSink(folder / f"{name}.parquet", schema, compression="snappy") as sink:
                arrays = [pa.array((row[column] for row in table.rows), kind) for column, kind in table.schema.items()]
                sink.write(pa.RecordBatch.from_arrays(arrays, schema=schema))
                parts[name] = sink.finish()
        (one, *others) = tables.values()
        return platform.lake.publish(
            layer,
            dataset,
            partition,
            inputs=inputs,
            parts=parts,
            counts={"rows": sum(len(table.rows) for table in tables.values()), **(counts or {})},
            schema=[] if others else [(name, str(kind)) for name, kind in one.schema.items()],
            details=details,
        )
