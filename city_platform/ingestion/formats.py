"""What kind of file is this? Told by its content, because names lie.

Refuses at once, from the first 256 KiB, what no amount of reading would make a table.
"""

import csv
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from city_platform.errors import PermanentError
from city_platform.ingestion.sheet_span import MAX_CELLS, spanned

BOM = b"\xef\xbb\xbf"
MAX_COLUMNS = 1_000
MAX_HEADER_BYTES = 256 * 1024
MAX_WORKBOOK_BYTES = 1 << 30  # unpacked; a sheet is held in memory
MAX_RATIO = 250  # unpacked to packed; the city's most repetitive files stay under 60
RATIO_FREE_BYTES = 100 << 20  # below this size no ratio is suspicious

_DELIMITERS = ";,\t|"  # in this order where a header leaves the choice open
_CONTROL = bytes([*range(0x09), *range(0x0E, 0x20), 0x7F])
_CONTROL_SHARE = 0.05  # a third of random bytes' share; a text file has next to none
_OTHER_KINDS = {
    rb"%PDF-": ("a PDF document", "Ask for the data itself, as CSV"),
    rb"\xd0\xcf\x11\xe0": ("an old Excel workbook (.xls)", "Save it as .xlsx or as CSV"),
    rb"PAR1[^\w]": ("a Parquet file", "Export the rows as CSV or JSON lines"),
    rb"BZh[1-9]1AY": ("compressed with bzip2", "Unpack it, or compress it with gzip"),
    rb"\xfd7zXZ": ("compressed with xz", "Unpack it, or compress it with gzip"),
    rb"\x28\xb5\x2f\xfd": ("compressed with zstd", "Unpack it, or compress it with gzip"),
    rb"7z\xbc\xaf": ("a 7z archive", "Unpack it first"),
    rb"<[!?a-zA-Z]": (
        "a web page or XML",
        "It is often an error page: look at it in a browser, then fetch the export again",
    ),
    rb"\[\s*[{\]]": ("one JSON array", "Export it as JSON lines: one object a line"),
}


class UnreadableSource(PermanentError):
    """The file is no table that can be read. Says what is wrong, where, and what to do; holds no cell's value."""

    def __init__(self, file: str, problem: str, remedy: str) -> None:
        self.file, self.problem, self.remedy = file, problem, remedy
        super().__init__(f"{file}: {problem}. {remedy}.")


class SourceTooLarge(UnreadableSource):
    """The file unpacks to more than this machine takes."""

    def __init__(self, file: str, limit: int) -> None:
        super().__init__(
            file,
            f"the file unpacks to more than the {limit:,} bytes that are taken here",
            "Split it, free disk space, or set CITY_PLATFORM_UNPACKED_LIMIT to a larger number of bytes",
        )


class FormatKind(StrEnum):
    CSV = "csv"
    JSON_LINES = "json-lines"
    XLSX = "xlsx"


@dataclass(frozen=True, slots=True)
class SourceFormat:
    """How to read a file. All but `kind` and `gzip` describe CSV alone."""

    kind: FormatKind
    gzip: bool = False
    delimiter: str = ""
    newline: str = ""  # the one ending the header: \n, \r\n or \r
    headers: tuple[str, ...] = ()  # as written, without the byte order mark
    header_line: int = 1  # from 1; blank lines may stand before the header


def recognise(path: Path, unpacked_limit: int = MAX_WORKBOOK_BYTES) -> SourceFormat:
    """The file's format from its first bytes; raises UnreadableSource for what cannot be a source, SourceTooLarge for
    a workbook whose parts are larger than `unpacked_limit` together.

    Of a gzip file only the beginning is looked at: `unpacking.unpack` judges the rest.
    """
    name = path.name
    head = _first_bytes(path)
    packed = head.startswith(b"\x1f\x8b")
    if packed:
        head = _first_unpacked_bytes(path)
    if not head.removeprefix(BOM).strip():
        raise UnreadableSource(name, "the file is empty", "Fetch it again, or remove it")
    if head.startswith(b"\x1f\x8b"):
        raise UnreadableSource(name, "the file is compressed with gzip twice", "Unpack it once")
    if head.startswith(b"PK\x03\x04"):
        if not packed:
            _check_workbook(path, unpacked_limit)
        return SourceFormat(FormatKind.XLSX, packed)
    _refuse_other_kinds(name, head)
    if head.removeprefix(BOM).lstrip().startswith(b"{"):
        return SourceFormat(FormatKind.JSON_LINES, packed)
    return _recognise_csv(name, head.removeprefix(BOM), packed)


def refuse_too_wide(file: str, columns: int) -> None:
    """Raises UnreadableSource for more than MAX_COLUMNS columns."""
    if columns > MAX_COLUMNS:
        raise UnreadableSource(
            file,
            f"the file has {columns:,} columns; at most {MAX_COLUMNS:,} are read",
            "Check that this is a table with one record a row, not a transposed or concatenated one",
        )


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_HEADER_BYTES + 1)


def _first_unpacked_bytes(path: Path) -> bytes:
    try:
        with gzip.open(path) as file:
            return file.read(MAX_HEADER_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise damaged_gzip(path) from error


def damaged_gzip(path: Path) -> UnreadableSource:
    return UnreadableSource(path.name, "the gzip data are cut off or damaged", "Fetch the file again")


def _check_workbook(path: Path, limit: int) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            unpacked = sum(member.file_size for member in members)
            if limit < unpacked <= MAX_WORKBOOK_BYTES:
                raise SourceTooLarge(path.name, limit)
            packed = max(path.stat().st_size, 1)
            if unpacked > MAX_WORKBOOK_BYTES or (unpacked > RATIO_FREE_BYTES and unpacked > MAX_RATIO * packed):
                raise UnreadableSource(
                    path.name,
                    f"the workbook would unpack from {packed:,} to {unpacked:,} bytes",
                    "Export the sheet as CSV",
                )
            if "xl/workbook.xml" not in archive.namelist():
                raise UnreadableSource(path.name, "the file is a zip archive and no workbook", "Unpack it first")
            # Reads every member against its declared size and checksum: a lying size or a cut-off file ends here.
            damaged = archive.testzip()
            cells = 0 if damaged else spanned(archive)
    # zipfile's own words: RuntimeError for an encrypted part, and its subclass for a compression it does not know.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise UnreadableSource(path.name, "the workbook is cut off or damaged", "Fetch the file again") from error
    if damaged is not None:
        raise UnreadableSource(path.name, f"the workbook's part {damaged} is damaged", "Fetch the file again")
    if cells > MAX_CELLS:
        raise UnreadableSource(
            path.name, f"a sheet spans {cells:,} cells; at most {MAX_CELLS:,} are read", "Export the sheet as CSV"
        )


def _refuse_other_kinds(name: str, head: bytes) -> None:
    text = head.removeprefix(BOM).lstrip()
    for magic, (what, remedy) in _OTHER_KINDS.items():
        if re.match(magic, text):
            raise UnreadableSource(name, f"the file is {what}", remedy)
    sample = head[:65_536]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or _every_second_byte_zero(sample):
        raise UnreadableSource(
            name, "the text is UTF-16", "Save it as UTF-8, for example: iconv -f UTF-16 -t UTF-8 FILE > NEW_FILE"
        )
    first_line = re.split(rb"[\r\n]", text, maxsplit=1)[0]
    control = len(sample) - len(sample.translate(None, _CONTROL))
    if len(first_line) != len(first_line.translate(None, _CONTROL)) or control > _CONTROL_SHARE * len(sample):
        raise UnreadableSource(
            name, "the file is binary data, not a table", "Give a CSV, JSON lines or xlsx file, plain or gzip"
        )


def _every_second_byte_zero(sample: bytes) -> bool:
    pairs = len(sample) // 2
    return pairs > 1 and max(sample[0::2].count(0), sample[1::2].count(0)) > 0.8 * pairs


def _recognise_csv(name: str, head: bytes, packed: bool) -> SourceFormat:
    body = head.lstrip(b"\r\n")
    blank = head[: len(head) - len(body)]
    end = next(_record_ends(body), None)
    if end is None and len(head) <= MAX_HEADER_BYTES - len(BOM):
        end = len(body)
    if end is None:
        raise UnreadableSource(
            name,
            f"the header is longer than {MAX_HEADER_BYTES:,} bytes, or a quote in it is never closed",
            "Check that the first line holds the column names and that lines end in line breaks",
        )
    try:
        header = body[:end].decode()
    except UnicodeDecodeError as error:
        raise UnreadableSource(name, "the header is not UTF-8", "Save the file as UTF-8") from error
    delimiter = _delimiter(header)
    try:
        headers = next(csv.reader(io.StringIO(header, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise UnreadableSource(
            name, "a quote in the header is not closed, or text follows it", 'Write a quote inside a name twice: ""'
        ) from error
    refuse_too_wide(name, len(headers))
    rest = body[end : end + 2]
    newline = "\r\n" if rest == b"\r\n" else rest[:1].decode() or "\n"
    lines = len(blank.splitlines())
    return SourceFormat(FormatKind.CSV, packed, delimiter, newline, tuple(headers), lines + 1)


def _record_ends(text: bytes) -> Iterator[int]:
    """Where line breaks outside quotes stand."""
    inside = False
    for mark in re.finditer(rb'["\r\n]', text):
        if mark.group() == b'"':
            inside = not inside
        elif not inside:
            yield mark.start()


def _delimiter(header: str) -> str:
    unquoted = re.sub(r'"[^"]*"', "", header)
    return max(_DELIMITERS, key=unquoted.count)
