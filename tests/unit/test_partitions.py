"""Years, days and hours as partitions."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city_platform.contracts.partitions import Granularity, granularity_of, partition_folder, window

VANCOUVER = "America/Vancouver"


@pytest.mark.parametrize("text", ["all", "2024-05", "20240531", "2024-13-01", "2024-02-30", "2024-05-31-24"])
def test_what_is_no_span_of_time(text: str) -> None:
    assert granularity_of(text) is None
    assert partition_folder(text) == text
    with pytest.raises(ValueError, match="names no year, day or hour"):
        window(text, VANCOUVER)


def test_folders() -> None:
    named = [partition_folder(one) for one in ("2024", "2024-05-31", "2024-05-31-13")]
    assert named == ["year=2024", "day=2024-05-31", "hour=2024-05-31-13"]


@pytest.mark.parametrize(
    ("partition", "hours"),
    [
        ("2024", 366 * 24),
        ("2023", 365 * 24),
        ("2024-03-10", 23),
        ("2024-11-03", 25),
        ("2024-05-31", 24),
        ("2024-11-03-09", 1),
    ],
)
def test_how_long_partitions_last(partition: str, hours: int) -> None:
    first, following = (one.astimezone(UTC) for one in window(partition, VANCOUVER))
    assert following - first == timedelta(hours=hours)


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)), st.sampled_from(Granularity))  # noqa: DTZ001 - the zone is added
def test_every_moment_is_in_the_window_of_its_partition(naive: datetime, granularity: Granularity) -> None:
    moment = naive.replace(tzinfo=UTC)
    clock = moment if granularity is Granularity.HOUR else moment.astimezone(ZoneInfo(VANCOUVER))
    partition = clock.strftime(granularity.strftime)
    assert granularity_of(partition) is granularity
    first, following = window(partition, VANCOUVER)
    assert first.astimezone(UTC) <= moment < following.astimezone(UTC)
