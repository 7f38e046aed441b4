"""How Parquet is written well: what depends on the columns and is decided by a sample of the rows."""

import pyarrow as pa
import pyarrow.compute as pc

_SAMPLE_ROWS = 4_096


def repetitive_columns(rows: pa.Table | pa.RecordBatch, share: float = 0.25) -> list[str]:
    """The columns of which at most `share` of the first rows' values are distinct.

    For them a dictionary is smaller and faster; for the others it is built, found too large and thrown away.
    """
    sample = rows.slice(0, _SAMPLE_ROWS)
    most = max(1, int(share * sample.num_rows))
    flat = [field.name for field in sample.schema if not pa.types.is_nested(field.type)]
    return [name for name in flat if pc.count_distinct(sample.column(name)).as_py() <= most]


def ordered_columns(schema: pa.Schema) -> list[str]:
    """The columns whose least and greatest value help a reader to skip row groups: numbers, dates, times.

    Those of texts cost a tenth of the writing and are of little use.
    """
    return [field.name for field in schema if not pa.types.is_string(field.type) and not pa.types.is_nested(field.type)]
