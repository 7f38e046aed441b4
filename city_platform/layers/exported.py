"""Exported: rows that another part of the platform writes into the lake as they come, and raw takes from there.

Such a part publishes its Parquet files as the layer `exports` of the dataset, a manifest for each partition and export
that lists all files of the partition; only what a manifest lists exists. Raw makes one file of texts of them, so that
the recipe reads a stream's rows as it reads a file's. When a later export adds rows, to an old partition too, the
manifest's version changes, and with it what raw is made from.
"""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from city_platform.contracts.partitions import Granularity, window
from city_platform.datasets import Dataset
from city_platform.engines.arrays import int64_array
from city_platform.engines.duckdb import DuckDBSession
from city_platform.errors import PermanentError
from city_platform.ingestion.headers import BreakingDrift, HeaderMatch, match_headers
from city_platform.lake.lake import Lake, StagedFile
from city_platform.lake.manifest import Manifest
from city_platform.lake.sink import ParquetSink

LAYER, PARQUET = "exports", "parquet"
SETTLING = timedelta(minutes=3)  # after an hour's end: live windows have closed, and an export has run
PATIENCE = 3  # an hour of the whole city takes ten minutes of a core each time
LONGEST = timedelta(days=1)  # an hour that is made again waits this long at the most


def newest(lake: Lake, dataset: str, partition: str) -> Manifest | None:
    """What was exported of the partition, or None."""
    return lake.latest(LAYER, dataset, partition)


class HourNotOver(PermanentError):
    """The hour lasts, or its last rows are on their way: whoever reads it would take a part of it for the whole."""


def settled(dataset: Dataset, partition: str, now: datetime) -> bool:
    """Whether a partition may be made at all. An hour may when it is over and its live windows are closed, because
    from then on it is read here and not live; a year or a day grows in the lake while it lasts.
    """
    if dataset.contract.partitioning.granularity is not Granularity.HOUR:
        return True
    return now >= window(partition, dataset.contract.timezone)[1] + SETTLING


def due(lake: Lake, dataset: Dataset, partition: str, now: datetime) -> bool:
    """Whether it is time to make an exported partition, or to make it again.

    Years and days always are. An hour is when it has settled; and again when `PATIENCE` times as long has passed since
    it was made as had passed between its end and then. So an hour whose rows trickle in for a day is made five times,
    after 3, 12, 48 minutes and so on, and not with every export.
    """
    if dataset.contract.partitioning.granularity is not Granularity.HOUR:
        return True
    made = lake.latest("raw", dataset.name, partition)
    if made is None:
        return settled(dataset, partition, now)
    export = newest(lake, dataset.name, partition)
    if export is None or made.inputs.get(LAYER) == export.version:
        return True  # nothing came since: what is behind waits for a run, a rule or a steward, not for rows
    _, end = window(partition, dataset.contract.timezone)
    return now - made.published_at >= min(PATIENCE * max(made.published_at - end, SETTLING), LONGEST)


def rows_as_text(
    session: DuckDBSession, lake: Lake, dataset: Dataset, manifest: Manifest, file: Path
) -> tuple[StagedFile, HeaderMatch]:
    """Writes all rows to `file`: the export's columns as text and `_row`, in the order of its files.

    Times are texts in UTC. Raises BreakingDrift where the columns do not fit the contract.
    """
    paths = lake.paths(manifest, PARQUET)
    names = [str(row[0]) for row in session.rows(f"DESCRIBE SELECT * FROM {session.parquet(paths)}")]
    match = match_headers(names, dataset.contract)
    if match.breaking:
        raise BreakingDrift(f"the export of {manifest.partition}", dataset.name, match.drift)
    texts = (f"CAST({name} AS VARCHAR) AS {name}" for name in map(session.dialect.name, names))
    reader = session.stream(f"SELECT {', '.join(texts)}, CAST(0 AS BIGINT) AS _row FROM {session.parquet(paths)}")
    with ParquetSink(file, reader.schema, compression="lz4") as sink:
        rows = 0
        for batch in reader:
            numbers = int64_array(np.arange(rows, rows + batch.num_rows, dtype=np.int64))
            sink.write(batch.set_column(batch.num_columns - 1, "_row", numbers))
            rows += batch.num_rows
        (staged,) = sink.finish()
    return staged, match
