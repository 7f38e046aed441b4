"""Which partition a row belongs to, from its partition column's text."""

import re
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from city_platform.contracts.model import Partitioning, PartitionTransform
from city_platform.contracts.partitions import Granularity

# JSON and spreadsheets make 2024 of '2024' and pandas makes 2024.0 of it: the same year.
_FOUR_DIGITS = re.compile(r"([0-9]{4})(\.0+)?")
_TWO_DIGITS = re.compile(r"([0-9]{1,2})(\.0+)?")  # a spreadsheet turns 05 into 5
_ISO_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")
_ISO_DATE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})([T ][0-9]{2}:[0-9]{2}.*)?", re.DOTALL)
_OFFSET = re.compile(r"(Z|z|[+-][0-9]{2}:?[0-9]{2}) *$")
_TURN_OF_THE_YEAR = ("12-31", "01-01")  # the only days on which another clock may show another year
_YEAR_IN_A_NAME = re.compile(r"(?<![0-9])((?:19|20)[0-9]{2})(?![0-9])")
_CENTURY_PIVOT = 69  # POSIX: 69-99 are 1969-1999, 00-68 are 2000-2068
_REMEMBERED_TEXTS = 200_000


def partition_of(text: str, partitioning: Partitioning) -> str | None:
    """The partition as `Granularity` writes it, or None where the text names none within the contract's range.

    A time with an offset counts with the day on the calendar of the contract's timezone, so that the same row lands in
    the same year whether its file writes UTC or local time. Raises ValueError for a snapshot, whose rows tell no year.
    """
    match partitioning.transform:
        case PartitionTransform.SNAPSHOT:
            raise ValueError("a snapshot's rows tell no year")
        case PartitionTransform.FOUR_DIGITS:
            found = _FOUR_DIGITS.fullmatch(text.strip())
            year = int(found[1]) if found else None
        case PartitionTransform.TWO_DIGITS:
            found = _TWO_DIGITS.fullmatch(text.strip())
            year = int(found[1]) + (1900 if int(found[1]) >= _CENTURY_PIVOT else 2000) if found else None
        case PartitionTransform.HOUR:
            hour = _hour(text.strip())
            return _within(hour, partitioning) if hour else None
        case PartitionTransform.YEAR | PartitionTransform.DAY:
            day = _day(text.strip(), partitioning)
            return _within(day, partitioning) if day else None
    return _within(date(year, 1, 1), partitioning) if year else None


def _within(moment: date, partitioning: Partitioning) -> str | None:
    """The moment's partition, or None outside the contract's years."""
    if not partitioning.first_year <= moment.year <= partitioning.last_year:
        return None
    # Years before 1000 lack their zeros in strftime.
    return f"{moment.year:04d}" + moment.strftime(partitioning.granularity.strftime.removeprefix("%Y"))


def snapshot_year(file: str, landed: datetime | None, partitioning: Partitioning) -> str | None:
    """The year a snapshot was taken: the one in its file's name, as `issues_2019.csv`, else that of landing it.

    None where neither tells it, or tells one outside the contract's range. `landed` is aware.
    """
    if named := _YEAR_IN_A_NAME.search(file):
        year = int(named[1])
    elif landed is not None:
        year = landed.astimezone(ZoneInfo(partitioning.timezone)).year
    else:
        return None
    return f"{year:04d}" if partitioning.first_year <= year <= partitioning.last_year else None


def _hour(text: str) -> datetime | None:
    """The time in UTC; None for one without an offset, because nobody knows which hour that is."""
    if not (_ISO_DATE.fullmatch(text) and _OFFSET.search(text)):
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _day(text: str, partitioning: Partitioning) -> date | None:
    """The calendar day; for partitions of a year perhaps another one of the same year."""
    of_years = partitioning.granularity is Granularity.YEAR
    iso = _ISO_DATE.fullmatch(f"{text}-01" if of_years and _ISO_MONTH.fullmatch(text) else text)
    try:
        if iso:
            day = date.fromisoformat(iso[1])
            matters = not of_years or iso[1][5:] in _TURN_OF_THE_YEAR
            if iso[2] and matters and _OFFSET.search(iso[2]):
                return datetime.fromisoformat(text).astimezone(ZoneInfo(partitioning.timezone)).date()
            return day
    except (ValueError, OverflowError):
        return None
    if not text.isascii():  # strptime takes the digits of every script, the engine does not
        return None
    for one in partitioning.date_formats:
        try:
            return datetime.strptime(text, one).date()  # noqa: DTZ007 - only the day is used
        except ValueError:
            continue
    return None


def expected_text(partitioning: Partitioning) -> str:
    """What a text has to be, for messages."""
    match partitioning.transform:
        case PartitionTransform.FOUR_DIGITS:
            form = "a year such as 2024"
        case PartitionTransform.TWO_DIGITS:
            form = "a two-digit year such as 24"
        case PartitionTransform.SNAPSHOT:
            form = "a file whose name holds the year it was taken, such as issues_2019.csv"
        case PartitionTransform.YEAR | PartitionTransform.DAY:
            form = " or ".join(["a date such as 2024-05-31", *partitioning.date_formats])
        case PartitionTransform.HOUR:
            form = "a time with its offset such as 2024-05-31T13:05:00-07:00"
    return f"{form}, from {partitioning.first_year} to {partitioning.last_year}"


class Placement:
    """Sorts batches by partition, judging each distinct text once."""

    def __init__(self, partitioning: Partitioning) -> None:
        self._partitioning = partitioning
        self._known: dict[str | None, str | None] = {None: None}

    def of(self, column: pa.ChunkedArray) -> list[tuple[str | None, npt.NDArray[np.int64]]]:
        """The partitions that occur, in order, each with its rows' places in order; the unplaced (None) come last."""
        encoded = pc.dictionary_encode(column.combine_chunks(), null_encoding="encode")
        partitions = [self._partition(text) for text in encoded.dictionary.to_pylist()]
        order = sorted(set(partitions), key=lambda one: (one is None, one))
        if len(order) == 1:
            return [(order[0], np.arange(len(column), dtype=np.int64))]
        places = {one: place for place, one in enumerate(order)}
        ranks = np.array([places[one] for one in partitions], np.int16)
        # The buffer itself, because pyarrow's own conversion imports pandas, which takes a second.
        indices = np.frombuffer(encoded.indices.buffers()[1], np.int32)[: len(column)]
        row_ranks = ranks[indices]
        positions = np.argsort(row_ranks, kind="stable").astype(np.int64, copy=False)
        ends = np.cumsum(np.bincount(row_ranks, minlength=len(order)))
        return list(zip(order, np.split(positions, ends[:-1]), strict=True))

    def _partition(self, text: str | None) -> str | None:
        if text not in self._known:
            if len(self._known) > _REMEMBERED_TEXTS:
                self._known = {None: None}
            self._known[text] = partition_of(text or "", self._partitioning)
        return self._known[text]
