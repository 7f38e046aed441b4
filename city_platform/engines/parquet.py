"""How Parquet is written well, decided by a sample of the rows, and what its footers tell without reading rows."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_SAMPLE_ROWS = 4_096

# Arrow's first choice keeps much of what was freed; of the two this one is faster here, too. Whoever names another one
# in Arrow's own variable has it.
if "ARROW_DEFAULT_MEMORY_POOL" not in os.environ and "jemalloc" in pa.supported_memory_backends():
    pa.set_memory_pool(pa.jemalloc_memory_pool())


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


@dataclass(frozen=True, slots=True)
class Footers:
    """What the footers of some files say of their columns.

    `values` counts those that are not null, for the columns of which every row group says so; `repetitive` are the
    columns some row group of which has a dictionary.
    """

    values: Mapping[str, int]
    repetitive: frozenset[str]

    @classmethod
    def of(cls, files: Iterable[Path]) -> "Footers":
        """Raises OSError and ArrowInvalid for what is no Parquet file."""
        values: Counter[str] = Counter()
        untold, repetitive = set(), set()
        for file in files:
            footer = pq.read_metadata(file)
            for group in range(footer.num_row_groups):
                columns = footer.row_group(group)
                for place in range(footer.num_columns):
                    column = columns.column(place)
                    name, told = column.path_in_schema, column.statistics
                    if told is not None and told.has_null_count:
                        values[name] += told.num_values
                    else:
                        untold.add(name)
                    if column.has_dictionary_page:
                        repetitive.add(name)
        return cls({name: count for name, count in values.items() if name not in untold}, frozenset(repetitive))
