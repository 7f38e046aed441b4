"""How many cells a workbook's sheets span, told before one is read.

A sheet is held in memory as a rectangle from its first cell to its last: two cells in opposite corners, a kilobyte of
file, would take some hundred gigabytes and end the process.
"""

import re
import zipfile
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MAX_CELLS = 50_000_000  # some 32 bytes each
_COLUMNS, _CHUNK_BYTES = 16_384, 1 << 20
_LONGEST_BYTES = 4 << 20  # from one tag to the next; a cell holds 32,767 characters
_CELL = re.compile(rb"<(?:\w+:)?c[\s/>]")
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
        """`text` ends with the end of a tag's text, or in the middle of no tag."""
        if not self._look_as_usual(text):
            self._look_anyhow(text)

    def _look_as_usual(self, text: bytes) -> bool:
        """As nearly all programs write, every cell is `<c r="A1"` and every row `<row r="1"`: told from arrays of
        bytes, in a fifth of the time. Where one is not, nothing is counted and the answer is False.
        """
        if b":c" in text or b":row" in text:
            return False
        data = np.frombuffer(text + bytes(_LONGEST_REFERENCE), np.uint8)
        tags = np.flatnonzero(data == ord("<"))
        first = data[tags + 1]
        cells, rows = tags[first == ord("c")], tags[first == ord("r")]
        cells = cells[_ENDS_NAME[data[cells + 2]]]
        rows = rows[(data[rows + 2] == ord("o")) & (data[rows + 3] == ord("w")) & _ENDS_NAME[data[rows + 4]]]
        columns, places = _letters(data, _attribute(data, cells + 2))
        of_cells, of_rows = _digits(data, places), _digits(data, _attribute(data, rows + 4))
        if not (columns.all() and of_cells.all() and of_rows.all()):
            return False
        self.cells += len(cells)
        self.placed += len(cells)
        self.rows += len(rows)
        self.last_row = max(self.last_row, *(int(one.max(initial=0)) for one in (of_cells, of_rows)))
        self.last_column = max(self.last_column, int(columns.max(initial=0)))
        return True

    def _look_anyhow(self, text: bytes) -> None:
        places, cells = _PLACED.findall(text), len(_CELL.findall(text))
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


_Numbers = npt.NDArray[np.int64]
_LETTERS, _DIGITS = 3, 7  # of a reference, at most
_ATTRIBUTE = b' r="'
_LONGEST_REFERENCE = len("<row") + len(_ATTRIBUTE) + _LETTERS + _DIGITS + 1
_ENDS_NAME = np.isin(np.arange(256), list(b" \t\n\r\f\v/>"))


def _attribute(data: npt.NDArray[np.uint8], places: _Numbers) -> _Numbers:
    """Where the value of `r` begins, if it is the first attribute; else the padding, where nothing stands."""
    found = np.ones(len(places), np.bool_)
    for number, byte in enumerate(_ATTRIBUTE):
        found &= data[places + number] == byte
    return np.where(found, places + len(_ATTRIBUTE), len(data) - 1)


def _letters(data: npt.NDArray[np.uint8], places: _Numbers) -> tuple[_Numbers, _Numbers]:
    """The columns that capital letters name there, 0 where none do, and the places behind them."""
    columns, going = np.zeros(len(places), np.int64), np.ones(len(places), np.bool_)
    for _ in range(_LETTERS):
        byte = data[places].astype(np.int64)
        going &= (byte >= ord("A")) & (byte <= ord("Z"))
        columns = np.where(going, 26 * columns + byte - ord("A") + 1, columns)
        places = places + going
    return columns, places


def _digits(data: npt.NDArray[np.uint8], places: _Numbers) -> _Numbers:
    """The numbers that stand there up to a quotation mark, 0 where none does."""
    numbers, going = np.zeros(len(places), np.int64), np.ones(len(places), np.bool_)
    for _ in range(_DIGITS):
        byte = data[places].astype(np.int64)
        going &= (byte >= ord("0")) & (byte <= ord("9"))
        numbers = np.where(going, 10 * numbers + byte - ord("0"), numbers)
        places = places + going
    return np.where(data[places] == ord('"'), numbers, 0)


def _column(letters: bytes) -> int:
    """A is 1, Z 26, AA 27."""
    number = 0
    for letter in letters.upper():
        number = 26 * number + letter - ord("A") + 1
    return number
