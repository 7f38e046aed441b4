"""How many cells a workbook's sheets span, told before one is read.

A sheet is held in memory as a rectangle from its first cell to its last: two cells in opposite corners, a kilobyte of
file, would take some hundred gigabytes and end the process.
"""

import re
import zipfile
from dataclasses import dataclass

MAX_CELLS = 50_000_000  # some 32 bytes each
_COLUMNS, _CHUNK_BYTES = 16_384, 1 << 20
_LONGEST_BYTES = 4 << 20  # from one tag to the next; a cell holds 32,767 characters
_CELL = re.compile(rb"<(?:\w+:)?c[\s/>]")
_AS_USUAL = re.compile(rb'<c r="([A-Z]{1,3})([0-9]{1,7})"')  # twice as fast, and how nearly all are written
_PLACED = re.compile(rb"<(?:\w+:)?c\s[^<>]*?\br\s*=\s*[\"']([A-Za-z]{1,3})([0-9]{1,7})")
_ROW = re.compile(rb"<(?:\w+:)?row[\s/>]")
_NUMBERED = re.compile(rb"<(?:\w+:)?row\s[^<>]*?\br\s*=\s*[\"']([0-9]{1,7})")


@dataclass(slots=True)
class _Sheet:
    """What was seen of one part. A cell or row that does not say its place stands after the one before."""

    cells: int = 0
    placed: int = 0
    rows: int = 0
    last_row: int = 0
    last_column: int = 0

    def look(self, text: bytes) -> None:
        places, cells = _AS_USUAL.findall(text), len(_CELL.findall(text))
        if len(places) < cells:
            places = _PLACED.findall(text)
        self.cells += cells
        self.placed += len(places)
        self.rows += len(_ROW.findall(text))
        numbers = {number for _, number in places}.union(_NUMBERED.findall(text))
        self.last_row = max([self.last_row, *map(int, numbers)])
        self.last_column = max([self.last_column, *map(_column, {letters for letters, _ in places})])

    @property
    def span(self) -> int:
        anywhere = min(_COLUMNS, self.cells) if self.placed < self.cells else 0
        return max(self.last_row, self.rows) * max(self.last_column, anywhere)


def spanned(archive: zipfile.ZipFile) -> int:
    """The cells of the largest rectangle; counted too many, never too few. Raises what reading a part raises, and
    BadZipFile for a part that is none of a workbook's.
    """
    return max((_span(archive, name) for name in archive.namelist() if name.endswith(".xml")), default=0)


def _span(archive: zipfile.ZipFile, name: str) -> int:
    sheet, rest = _Sheet(), b""
    with archive.open(name) as part:
        while chunk := part.read(_CHUNK_BYTES):
            text = rest + chunk
            tag = text.rfind(b"<")  # which may go on in the next piece
            sheet.look(text[:tag] if tag >= 0 else text)
            rest = text[tag:] if tag >= 0 else b""
            if len(rest) > _LONGEST_BYTES:
                raise zipfile.BadZipFile(f"{name} is no part of a workbook")
    sheet.look(rest)
    return sheet.span


def _column(letters: bytes) -> int:
    """A is 1, Z 26, AA 27."""
    number = 0
    for letter in letters.upper():
        number = 26 * number + letter - ord("A") + 1
    return number
