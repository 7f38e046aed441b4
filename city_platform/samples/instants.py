"""Instants as the portal writes them: local time with the offset of that day, or UTC."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from city_platform.samples.draws import Indices, strings, take

DAY_SECONDS = 86_400
_EPOCH = date(1970, 1, 1)


def epoch_day(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - _EPOCH).days


def day_texts(first: date, last: date, pattern: str) -> list[str]:
    """Every day from `first` to `last` in strftime's `pattern`."""
    return [(first + timedelta(number)).strftime(pattern) for number in range((last - first).days + 1)]


class Instants:
    """Formats instants between two days, as `2024-01-16T14:37:35-08:00`."""

    def __init__(self, first: date, last: date, zone: tzinfo) -> None:
        changes = list(_offset_changes(first, last, zone))
        self._first_day = epoch_day(first)
        self._days = strings([*day_texts(first, last, "%Y-%m-%dT"), ""])
        self._change_seconds = np.array([second for second, _ in changes], dtype=np.int64)
        self._offset_seconds = np.array([offset for _, offset in changes], dtype=np.int64)
        self._offset_texts = strings([*(_offset_text(offset) for _, offset in changes), ""])

    def local(self, utc_seconds: Indices) -> Indices:
        """The wall clock's reading, as seconds since 1970-01-01T00:00 on that clock."""
        local: Indices = utc_seconds + self._offset_seconds[self._spans(utc_seconds)]
        return local

    def fragments(self, utc_seconds: Indices, present: NDArray[np.bool_]) -> tuple[Any, Any, Any]:
        """Date, time and offset of each instant, three pyarrow StringArrays to be joined; empty where not `present`."""
        spans = self._spans(utc_seconds)
        days, seconds = np.divmod(utc_seconds + self._offset_seconds[spans], DAY_SECONDS)
        return (
            take(self._days, np.where(present, days - self._first_day, len(self._days) - 1)),
            take(_clock(), np.where(present, seconds, DAY_SECONDS)),
            take(self._offset_texts, np.where(present, spans, len(self._offset_texts) - 1)),
        )

    def _spans(self, utc_seconds: Indices) -> Indices:
        return np.searchsorted(self._change_seconds, utc_seconds, side="right") - 1


@cache
def _clock() -> Any:
    """All 86,400 times of a day, and an empty text at the end."""
    within_hour = [f":{minute}:{second}" for minute in _two_digits(60) for second in _two_digits(60)]
    return strings([*(hour + rest for hour in _two_digits(24) for rest in within_hour), ""])


def _two_digits(count: int) -> list[str]:
    return [f"{number:02d}" for number in range(count)]


def _offset_changes(first: date, last: date, zone: tzinfo) -> Iterator[tuple[int, int]]:
    """(UTC second, offset in seconds from then on), from the start of the day before `first`."""
    start = epoch_day(first) - 1
    days = [number * DAY_SECONDS for number in range(start, epoch_day(last) + 2)]
    yield days[0], _offset(days[0], zone)
    for before, after in pairwise(days):
        if _offset(before, zone) != _offset(after, zone):
            yield _change(before, after, zone), _offset(after, zone)


def _change(before: int, after: int, zone: tzinfo) -> int:
    """The second in (before, after] at which the offset becomes that of `after`."""
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(middle, zone) == _offset(after, zone):
            after = middle
        else:
            before = middle
    return after


def _offset(utc_second: int, zone: tzinfo) -> int:
    offset = datetime.fromtimestamp(utc_second, UTC).astimezone(zone).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())


def _offset_text(seconds: int) -> str:
    minutes = abs(seconds) // 60
    return f"{'-' if seconds < 0 else '+'}{minutes // 60:02d}:{minutes % 60:02d}"
