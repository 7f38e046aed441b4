"""Partitions: spans of time, named the same in folders, in Dagster and on the command line.

year  2024           a calendar year in the dataset's timezone
day   2024-05-31     a calendar day there
hour  2024-05-31-13  an hour of UTC, because a local clock shows one hour of the year twice
"""

from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from zoneinfo import ZoneInfo


class Granularity(StrEnum):
    """How long a partition is. The value is the key of its folders, as in `day=2024-05-31`."""

    YEAR = "year"
    DAY = "day"
    HOUR = "hour"

    @property
    def strftime(self) -> str:
        """How a partition is written, in strftime's words; text order is time order."""
        return {"year": "%Y", "day": "%Y-%m-%d", "hour": "%Y-%m-%d-%H"}[self]

    @property
    def season(self) -> int:
        """After how many partitions a pattern repeats: days of a week, hours of a day; years repeat nothing."""
        return {"year": 1, "day": 7, "hour": 24}[self]

    def timezone(self, of_dataset: str) -> str:
        """Whose clock tells where a partition begins (IANA)."""
        return "UTC" if self is Granularity.HOUR else of_dataset


_LENGTHS = {len("2024"): Granularity.YEAR, len("2024-05-31"): Granularity.DAY, len("2024-05-31-13"): Granularity.HOUR}


def granularity_of(partition: str) -> Granularity | None:
    """What kind of partition it names; None for what is no span of time, such as `all`."""
    granularity = _LENGTHS.get(len(partition))
    if granularity is None:
        return None
    try:
        datetime.strptime(partition, granularity.strftime)  # noqa: DTZ007 - only whether it can be read
    except ValueError:
        return None
    return granularity


def partition_folder(partition: str) -> str:
    """`day=2024-05-31`, as Hive, Athena and Spark name folders; what is no span of time stands for itself."""
    granularity = granularity_of(partition)
    return partition if granularity is None else f"{granularity}={partition}"


def window(partition: str, timezone: str) -> tuple[datetime, datetime]:
    """From when to before when the partition lasts, aware; ValueError for what is no span of time."""
    granularity = granularity_of(partition)
    if granularity is None:
        raise ValueError(f"{partition} names no year, day or hour")
    zone: tzinfo = UTC if granularity is Granularity.HOUR else ZoneInfo(timezone)
    first = datetime.strptime(partition, granularity.strftime).replace(tzinfo=zone)
    match granularity:
        case Granularity.YEAR:
            return first, first.replace(year=first.year + 1)
        case Granularity.DAY:
            return first, first + timedelta(days=1)  # wall-clock time: midnight to midnight, be it 23 hours or 25
        case Granularity.HOUR:
            return first, first + timedelta(hours=1)
