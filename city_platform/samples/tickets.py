"""Parking tickets, as the portal exports them, as JSON lines, and in the form of 2010.

`portal`: `;`, byte order mark, CRLF. `jsonl`: one object a line, null where the portal leaves the cell empty.
`2010`: `,`, CRLF, other headers, no year and no BI_ID, dates m/d/y, statuses of one letter.

Many tickets repeat another one in everything but BI_ID: they are separate tickets, and no reader may merge them.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from city_platform.samples.chunks import GeneratedFile, Progress, joined, write_chunks
from city_platform.samples.csvtext import cell
from city_platform.samples.draws import (
    SLOTS,
    Choices,
    Draw,
    Indices,
    choices,
    draws,
    generator,
    integers,
    scaled,
    strings,
    take,
)
from city_platform.samples.instants import day_texts
from city_platform.samples.request import check_request
from city_platform.samples.words import INFRACTIONS, NAMED_STREETS, numbered_avenues

HEADERS = ("Block", "Street", "EntryDate", "Bylaw", "Section", "Status", "InfractionText", "Year", "BI_ID")
HEADERS_2010 = ("Hundred_Block", "Street", "Date", "Bylaw", "Section", "Status", "Description")

NO_TEXT_SHARES = {2021: 0.62, 2022: 0.96, 2023: 0.21, 2024: 0.67}  # of the year's rows; 0 in all other years
TRAILING_DOT_SHARE = 0.015  # of the texts
REPEAT_SHARE = 0.145  # rows that repeat the row before them in everything but BI_ID
TEST_BLOCK_SHARE = 1.6e-4  # blocks 11100 and 99900 on SCALES PLACE
PADDED_STREET_SHARE = 2e-3

DEFAULT_YEARS = range(2020, 2025)
KNOWN_YEARS = range(2010, 2051)
YEARS_2010 = range(2010, 2014)
_PLACES = 6_000
_FIRST_BI_ID = 3_000_000
_DRAWS = 9
_NO_TEXT, _DOTTED, _TEXTS = 1, 2, 3  # variants of an infraction's text after the plain one, and their number


class TicketForm(StrEnum):
    """Who wrote the file."""

    PORTAL = "portal"
    JSON_LINES = "jsonl"
    OF_2010 = "2010"


def generate_tickets(
    out: Path,
    rows: int,
    seed: int,
    years: Sequence[int] | None = None,
    *,
    form: str | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> GeneratedFile:
    """Writes `rows` tickets of `years` in equal parts to `out` (gzipped where it ends in .gz).

    Without a `form`, JSON lines where the name says `.jsonl`, else the portal's. `years` are by default 2020 to 2024,
    2010 in the form of 2010. The same arguments give the same bytes on any number of threads. Raises
    InvalidSampleRequest.
    """
    form = form or (TicketForm.JSON_LINES if ".jsonl" in out.suffixes else TicketForm.PORTAL)
    early = form == TicketForm.OF_2010
    years = tuple(years if years is not None else (YEARS_2010[:1] if early else DEFAULT_YEARS))
    known_years = YEARS_2010 if early else KNOWN_YEARS
    check_request(
        rows=rows, seed=seed, years=years, known_years=known_years, threads=threads, form=form, forms=tuple(TicketForm)
    )
    written = TicketForm(form)
    tickets = _Tickets(seed, years, written)
    return write_chunks(out, _header(written), tickets.chunk, rows, threads=threads, progress=progress)


class _Tickets:
    """What the chunks of one file share: the texts they draw from. Chunks read it from several threads."""

    def __init__(self, seed: int, years: tuple[int, ...], form: TicketForm) -> None:
        layout = _Layout(form)
        self._seed = seed
        self._numbered = form is not TicketForm.OF_2010
        self._first_days = np.array(
            [(date(year, 1, 1) - date(min(years), 1, 1)).days for year in years], dtype=np.int64
        )
        self._year_days = np.array([date(year, 12, 31).timetuple().tm_yday for year in years], dtype=np.int64)
        self._no_text = np.array([NO_TEXT_SHARES.get(year, 0.0) * SLOTS for year in years])
        days = day_texts(date(min(years), 1, 1), date(max(years), 12, 31), "%Y-%m-%d" if self._numbered else "%m/%d/%Y")
        self._dates = strings([layout.value(2, day) for day in days])
        self._places = _places(seed, layout)
        self._infractions = choices(
            [(layout.value(3, bylaw) + layout.value(4, section), share) for bylaw, section, _, share in INFRACTIONS]
        )
        statuses = zip(("IS", "VA", "WR", "VS") if self._numbered else "IVWR", (86.2, 13.0, 0.65, 0.15), strict=True)
        self._statuses = choices([(layout.value(5, status), share) for status, share in statuses])
        variants = [variant for _, _, text, _ in INFRACTIONS for variant in (text, None, text + ".")]
        self._texts = strings([layout.value(6, text) for text in variants])
        self._years = strings([layout.value(7, year) + layout.start(8) for year in years] if self._numbered else [])
        self._row_end = strings([layout.row_end])

    def chunk(self, number: int, first: int, rows: int) -> Sequence[memoryview]:
        """The chunk's tickets."""
        draw = draws(generator(self._seed, 0, number), _DRAWS, rows)
        original = _originals(next(draw))
        gaps = (next(draw) % 3).astype(np.int64)
        fragments = self._fragments(column[original] for column in draw)
        if self._numbered:
            fragments.append(integers(_FIRST_BI_ID + 3 * np.arange(first, first + rows, dtype=np.int64) + gaps))
        return (joined(*fragments, take(self._row_end, np.zeros(rows, dtype=np.int64))),)

    def _fragments(self, draw: Iterator[Draw]) -> list[Any]:
        """Everything but BI_ID."""
        year = scaled(next(draw), len(self._first_days))
        days = self._first_days[year] + ((next(draw) * self._year_days[year]) >> 16)
        infractions = self._infractions.indices(next(draw))
        dotted = np.where(next(draw) < TRAILING_DOT_SHARE * SLOTS, _DOTTED, 0)
        variant = np.where(next(draw) < self._no_text[year], _NO_TEXT, dotted)
        return [
            self._places.pick(next(draw)),
            take(self._dates, days),
            take(self._infractions.texts, infractions),
            self._statuses.pick(next(draw)),
            take(self._texts, infractions * _TEXTS + variant),
            *([take(self._years, year)] if self._numbered else []),
        ]


class _Layout:
    """How a form writes a value: as a cell after a delimiter, or as a member of a JSON object."""

    def __init__(self, form: TicketForm) -> None:
        self._json = form is TicketForm.JSON_LINES
        self._delimiter = "," if form is TicketForm.OF_2010 else ";"
        self.row_end = "}\n" if self._json else "\r\n"

    def start(self, column: int) -> str:
        """What stands before the value of the column."""
        if self._json:
            return ("," if column else "{") + json.dumps(HEADERS[column]) + ":"
        return self._delimiter if column else ""

    def value(self, column: int, value: str | int | None) -> str:
        """The value with what stands before it."""
        if self._json:
            return self.start(column) + json.dumps(value, ensure_ascii=False)
        return self.start(column) + cell("" if value is None else str(value), self._delimiter)


def _header(form: TicketForm) -> bytes:
    match form:
        case TicketForm.PORTAL:
            return ("\ufeff" + ";".join(HEADERS) + "\r\n").encode()
        case TicketForm.OF_2010:
            return (",".join(HEADERS_2010) + "\r\n").encode()
        case TicketForm.JSON_LINES:
            return b""


def _originals(draw: Draw) -> Indices:
    """The row that each row repeats: itself, or the row before it and whatever that one repeats."""
    rows = np.arange(len(draw), dtype=np.int64)
    originals: Indices = np.maximum.accumulate(np.where(draw < REPEAT_SHARE * SLOTS, 0, rows))
    return originals


def _places(seed: int, layout: _Layout) -> Choices:
    """Block and Street; a few places take most of the tickets."""
    rng = generator(seed, 1)
    streets = (*NAMED_STREETS, *numbered_avenues())
    named = np.minimum(rng.geometric(0.03, _PLACES) - 1, len(streets) - 1).tolist()
    blocks = (rng.integers(0, 90, _PLACES) * 100).tolist()
    shares = rng.pareto(1.2, _PLACES) + 0.1
    shares *= (1 - TEST_BLOCK_SHARE - PADDED_STREET_SHARE) / shares.sum()
    weighted = [
        (block, streets[street], share) for block, street, share in zip(blocks, named, shares.tolist(), strict=True)
    ]
    weighted += [(block, "SCALES PLACE", TEST_BLOCK_SHARE / 2) for block in (11_100, 99_900)]
    weighted += [(1_200, " W  GEORGIA ST ", PADDED_STREET_SHARE)]
    # Tickets spell avenues AVE, licences AV.
    spelt = ((block, f"{street}E" if street.endswith(" AV") else street, share) for block, street, share in weighted)
    return choices([(layout.value(0, block) + layout.value(1, street), share) for block, street, share in spelt])
