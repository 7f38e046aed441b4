"""Tables of a few columns, made row by row, in the three forms in which files of the portal come.

`portal`: `;`, byte order mark, CRLF, the portal's labels, instants in UTC, GeoJSON points.
`download`: `,`, LF, lower-case names, instants in local time, days with a clock at midnight, points as Python prints
dictionaries.
`jsonl`: one object a line under the lower-case names, null where the portal leaves the cell empty.

A table says its columns and makes its rows; how a file of them is written stands here.
"""

import json
import random
from bisect import bisect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, StrEnum, auto
from itertools import accumulate
from pathlib import Path
from zoneinfo import ZoneInfo

from city_platform.samples.chunks import GeneratedFile, Progress, write_chunks
from city_platform.samples.csvtext import cell
from city_platform.samples.places import download_geometry, download_pair, portal_geometry
from city_platform.samples.request import check_request
from city_platform.samples.words import LOCAL_AREAS

VANCOUVER = ZoneInfo("America/Vancouver")

REPEATED = "repeated"  # a kind of dirt

Value = str | int | float | None
Row = tuple[Value, ...]


class TableForm(StrEnum):
    """Who wrote the file."""

    PORTAL = "portal"
    DOWNLOAD = "download"
    JSON_LINES = "jsonl"


class Kind(Enum):
    """How the values of a column are made, and so how a form writes them."""

    PLAIN = auto()  # written as it is
    DAY = auto()  # `2024-07-31`
    MONTH = auto()  # `2024-07`
    INSTANT = auto()  # seconds since 1970-01-01T00:00Z
    GEOMETRY = auto()  # `latitude longitude`
    PAIR = auto()  # `latitude longitude`


@dataclass(frozen=True, slots=True)
class Column:
    """A column under the portal's label; programs know it in lower case, with `_` for what is no letter."""

    label: str
    kind: Kind = Kind.PLAIN

    @property
    def name(self) -> str:
        return "_".join("".join(mark if mark.isalnum() else " " for mark in self.label.lower()).split())


@dataclass(frozen=True, slots=True)
class SampleTable:
    """One dataset's table. `row` makes the row of a number, from its chance, the years asked for and its kind of dirt.

    `dirt` says of each kind which share of all rows has it. A row that is REPEATED is the one before it once more.
    """

    columns: tuple[Column, ...]
    default_years: range
    known_years: range
    dirt: Mapping[str, float]
    row: Callable[[random.Random, Sequence[int], int, str], Row]

    def generate(
        self,
        out: Path,
        rows: int,
        seed: int,
        years: Sequence[int] | None = None,
        *,
        form: str | None = None,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> GeneratedFile:
        """Writes `rows` rows of `years` to `out` (gzipped where it ends in .gz).

        Without a `form`, JSON lines where the name says `.jsonl`, else the portal's. The same arguments give the same
        bytes on any number of threads. Raises InvalidSampleRequest.
        """
        form = form or (TableForm.JSON_LINES if ".jsonl" in out.suffixes else TableForm.PORTAL)
        years = tuple(self.default_years if years is None else years)
        known = self.known_years
        check_request(
            rows=rows, seed=seed, years=years, known_years=known, threads=threads, form=form, forms=tuple(TableForm)
        )
        written = TableForm(form)

        def chunk(number: int, first: int, count: int) -> Sequence[memoryview]:
            chance = random.Random(f"{seed}/{number}")  # noqa: S311 - repeatable, not secret
            made = self._rows(chance, years, range(first, first + count))
            return (memoryview("".join(map(self._line(written), made)).encode()),)

        return write_chunks(out, self._header(written), chunk, rows, threads=threads, progress=progress)

    def _rows(self, chance: random.Random, years: Sequence[int], numbers: range) -> Iterator[Row]:
        before: Row | None = None
        for number in numbers:
            dirt = _spoilt(chance, self.dirt)
            if dirt != REPEATED or before is None:
                before = self.row(chance, years, number, dirt)
            yield before

    def _header(self, form: TableForm) -> bytes:
        match form:
            case TableForm.PORTAL:
                return ("\ufeff" + ";".join(column.label for column in self.columns) + "\r\n").encode()
            case TableForm.DOWNLOAD:
                return (",".join(column.name for column in self.columns) + "\n").encode()
            case TableForm.JSON_LINES:
                return b""

    def _line(self, form: TableForm) -> Callable[[Row], str]:
        writers = [_WRITERS[form].get(column.kind, _as_it_is) for column in self.columns]
        names = [column.name for column in self.columns]
        delimiter, newline = (";", "\r\n") if form is TableForm.PORTAL else (",", "\n")

        def values(row: Row) -> Iterator[Value]:
            return (None if one is None else write(one) for one, write in zip(row, writers, strict=True))

        def line_of_cells(row: Row) -> str:
            texts = ("" if one is None else str(one) for one in values(row))
            return delimiter.join(cell(text, delimiter) for text in texts) + newline

        def line_of_json(row: Row) -> str:
            return json.dumps(dict(zip(names, values(row), strict=True)), ensure_ascii=False) + "\n"

        return line_of_json if form is TableForm.JSON_LINES else line_of_cells


def _spoilt(chance: random.Random, dirt: Mapping[str, float]) -> str:
    """Which kind of dirt a row has, "" for none."""
    draw = chance.random()
    for kind, share in dirt.items():
        if draw < share:
            return kind
        draw -= share
    return ""


def weighted(*pairs: tuple[str, float]) -> Callable[[random.Random], str]:
    """Draws one of the texts by its weight."""
    texts, weights = [text for text, _ in pairs], list(accumulate(weight for _, weight in pairs))
    return lambda chance: texts[bisect(weights, chance.random() * weights[-1], hi=len(texts) - 1)]


def local_area(chance: random.Random) -> tuple[str, str]:
    """A local area by its share of the city's business, and a point in it as `latitude longitude`."""
    area = _area(chance)
    latitude, longitude = _CENTRES[area]
    point = f"{latitude + chance.gauss(0, 0.004):.7f} {longitude + chance.gauss(0, 0.004):.7f}"
    return area.replace("Arbutus-Ridge", "Arbutus Ridge"), point  # only licences write it with a hyphen


_area = weighted(*((area, share) for area, _, _, share in LOCAL_AREAS))
_CENTRES = {area: (latitude, longitude) for area, latitude, longitude, _ in LOCAL_AREAS}


def _as_it_is(value: str | float) -> Value:
    return value


def _at_midnight(value: str | float) -> Value:
    return f"{value}T00:00:00"


def _first_of_month(value: str | float) -> Value:
    return f"{value}-01"


def _utc(value: str | float) -> Value:
    return datetime.fromtimestamp(float(value), UTC).isoformat()


def _local(value: str | float) -> Value:
    return datetime.fromtimestamp(float(value), VANCOUVER).isoformat()


def _portal_geometry(value: str | float) -> Value:
    return portal_geometry(*str(value).split())


def _portal_pair(value: str | float) -> Value:
    return ", ".join(str(value).split())


def _download_geometry(value: str | float) -> Value:
    return download_geometry(*str(value).split())


def _download_pair(value: str | float) -> Value:
    return download_pair(*str(value).split())


_PORTAL = {Kind.INSTANT: _utc, Kind.GEOMETRY: _portal_geometry, Kind.PAIR: _portal_pair}
_WRITERS: Mapping[TableForm, Mapping[Kind, Callable[[str | float], Value]]] = {
    TableForm.PORTAL: _PORTAL,
    TableForm.JSON_LINES: _PORTAL,
    TableForm.DOWNLOAD: {
        Kind.DAY: _at_midnight,
        Kind.MONTH: _first_of_month,
        Kind.INSTANT: _local,
        Kind.GEOMETRY: _download_geometry,
        Kind.PAIR: _download_pair,
    },
}
