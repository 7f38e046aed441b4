"""The partition of a row."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from city_platform.contracts.model import Partitioning, PartitionTransform
from city_platform.ingestion.partitions import Placement, partition_of

FOUR = Partitioning("y", PartitionTransform.FOUR_DIGITS)
TWO = Partitioning("y", PartitionTransform.TWO_DIGITS)
DATE = Partitioning("y", PartitionTransform.YEAR, ("%m/%d/%Y",))
DAY = Partitioning("y", PartitionTransform.DAY, ("%m/%d/%Y",))
HOUR = Partitioning("y", PartitionTransform.HOUR)


@pytest.mark.parametrize(
    ("text", "partitioning", "partition"),
    [
        ("2024", FOUR, "2024"), (" 2024 ", FOUR, "2024"), ("2024.0", FOUR, "2024"), ("1989", FOUR, None),
        ("2101", FOUR, None), ("24", FOUR, None), ("2024.5", FOUR, None), ("", FOUR, None),
        ("\uff12\uff10\uff12\uff14", FOUR, None),
        ("24", TWO, "2024"), ("97", TWO, "1997"), ("05", TWO, "2005"), ("5", TWO, "2005"), ("24.0", TWO, "2024"),
        ("2024", TWO, None), ("75", TWO, None), ("-4", TWO, None), ("x", TWO, None),
        ("2024-02-29", DATE, "2024"), ("2023-02-29", DATE, None), ("5/31/2010", DATE, "2010"),
        ("2024-01-01T02:00:00+00:00", DATE, "2023"), ("2023-12-31T23:00:00-08:00", DATE, "2023"),
        ("2024-01-01T08:00:00Z", DATE, "2024"), ("2024-07-01T00:00:00Z", DATE, "2024"), ("2024-07", DATE, "2024"),
        ("2024-13", DATE, None), ("2024-01-01 02:00", DATE, "2024"), ("2024-01-01x", DATE, None),
        ("31/5/2010", DATE, None), ("209-12-31", DATE, None), ("2024", DATE, None), ("", DATE, None),
        ("0001-01-01T00:00:00Z", DATE, None), ("2024-05-31", DAY, "2024-05-31"), ("5/31/2010", DAY, "2010-05-31"),
        ("2024-05-31T23:30:00-07:00", DAY, "2024-05-31"), ("2024-06-01T06:59:59.999Z", DAY, "2024-05-31"),
        ("2024-06-01T07:00:00Z", DAY, "2024-06-01"), ("2024-06-01 23:59", DAY, "2024-06-01"), ("2024-06", DAY, None),
        ("2024-02-30", DAY, None), ("1989-12-31", DAY, None), ("2024-06-01T25:00:00Z", DAY, None),
        ("2024-05-31T13:05:00-07:00", HOUR, "2024-05-31-20"), ("2024-12-31T23:59:59.999Z", HOUR, "2024-12-31-23"),
        # The hour that Vancouver's clocks show twice is two hours.
        ("2024-11-03T01:30:00-07:00", HOUR, "2024-11-03-08"), ("2024-11-03T01:30:00-08:00", HOUR, "2024-11-03-09"),
        ("2024-05-31T13:05:00", HOUR, None), ("2024-05-31", HOUR, None), ("0001-01-01T00:00:00+02:00", HOUR, None),
    ],
)  # fmt: skip
def test_partition_of(text: str, partitioning: Partitioning, partition: str | None) -> None:
    assert partition_of(text, partitioning) == partition


@settings(max_examples=200)
@given(st.lists(st.sampled_from(["13", "14", "24", "97", "", "x", None]), min_size=1, max_size=60))
def test_placement_puts_every_row_in_one_place_in_order(texts: list[str | None]) -> None:
    places = Placement(TWO).of(pa.chunked_array([texts], pa.string()))
    assert sorted(int(row) for _, rows in places for row in rows) == list(range(len(texts)))
    for year, rows in places:
        assert list(rows) == sorted(rows)
        assert all(partition_of(texts[row] or "", TWO) == year for row in rows)
    years = [year for year, _ in places if year is not None]
    assert years == sorted(set(years))
    assert all(year is not None for year, _ in places[:-1])
