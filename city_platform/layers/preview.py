"""A few rows for people to look at, without anything personal."""

from collections.abc import Mapping
from decimal import Decimal

import pyarrow as pa

from city_platform.contracts.model import Contract

ROWS = 5


def preview_of(batch: pa.RecordBatch, contract: Contract) -> list[Mapping[str, object]]:
    """The first rows of a batch as JSON values, only columns the contract calls not personal."""
    personal = {column.name for column in contract.columns if column.personal}
    shown = [name for name in batch.schema.names if name not in personal and not name.startswith("_")]
    return [
        {name: _json(value) for name, value in row.items()} for row in batch.select(shown).slice(0, ROWS).to_pylist()
    ]


def _json(value: object) -> object:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value) if isinstance(value, Decimal) else getattr(value, "isoformat", value.__str__)()
