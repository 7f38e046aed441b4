"""Rows of an xlsx workbook: the first sheet that holds any."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import python_calamine

from city_platform.ingestion.formats import UnreadableSource, refuse_too_wide
from city_platform.ingestion.lines import text_batch

_BATCH_ROWS = 16_384


@dataclass(frozen=True, slots=True)
class Sheet:
    headers: tuple[str, ...]
    body: Iterator[Sequence[object]]  # rows of the sheet after the header's

    def rows(self, names: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
        """The rows as text in order; rows without any value are left out, as blank lines are."""
        records: list[list[str]] = []
        for cells in self.body:
            record = [cell_text(cell) for cell in cells]
            if any(record):
                records.append(record)
            if len(records) >= _BATCH_ROWS:
                yield text_batch(names, list(zip(*records, strict=True)))
                records = []
        if records:
            yield text_batch(names, list(zip(*records, strict=True)))


def open_sheet(path: Path, name: str) -> Sheet:
    """The first sheet with data; raises UnreadableSource (for the file called `name`) if there is none."""
    try:
        workbook = python_calamine.load_workbook(str(path))
        for title in workbook.sheet_names:
            rows = iter(workbook.get_sheet_by_name(title).iter_rows())
            for cells in rows:
                headers = tuple(cell_text(cell) for cell in cells)
                if any(headers):
                    refuse_too_wide(name, len(headers))
                    return Sheet(headers, rows)
    except python_calamine.CalamineError as error:
        raise UnreadableSource(name, f"the workbook cannot be read ({error})", "Save it again, or as CSV") from error
    raise UnreadableSource(name, "no sheet of the workbook holds any data", "Fetch it again, or remove it")


def cell_text(cell: object) -> str:
    """A cell as plain text: 2023 and not 2023.0, no exponent, dates in ISO 8601."""
    match cell:
        case bool():
            return "true" if cell else "false"
        case float():
            return str(np.format_float_positional(cell, trim="-"))
        case dt.datetime() | dt.date() | dt.time():
            return cell.isoformat()
        case _:
            return str(cell)
