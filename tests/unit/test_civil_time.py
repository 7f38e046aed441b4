"""The same civil time wherever it is computed: in Python, in the engine, on any machine."""

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from city_platform.cli.session import local
from city_platform.engines.duckdb import DuckDBEngine

INSTANTS = [
    datetime(2024, 3, 10, 9, 59, tzinfo=UTC),  # a minute before the clock goes forward
    datetime(2024, 3, 10, 10, 1, tzinfo=UTC),
    datetime(2024, 11, 3, 8, 59, tzinfo=UTC),  # a minute before it goes back
    datetime(2024, 11, 3, 9, 1, tzinfo=UTC),
    datetime(2026, 12, 1, 20, 0, tzinfo=UTC),  # British Columbia stays on daylight saving time from this winter
    datetime(2027, 7, 1, 20, 0, tzinfo=UTC),
]


@pytest.mark.parametrize("instant", INSTANTS)
def test_python_and_the_engine_agree(tmp_path: Path, instant: datetime) -> None:
    with DuckDBEngine(tmp_path).session() as session:
        sql = session.dialect.local_time(f"TIMESTAMPTZ '{instant.isoformat()}'", "America/Vancouver")
        ((engine,),) = session.rows(f"SELECT {sql}")
    assert engine == instant.astimezone(ZoneInfo("America/Vancouver")).replace(tzinfo=None)


def test_times_for_people_carry_their_zone() -> None:
    assert local(datetime(2024, 1, 5, 20, 0, tzinfo=UTC), "America/Vancouver") == "2024-01-05 12:00 PST"
    assert local(datetime(2026, 12, 1, 20, 0, tzinfo=UTC), "America/Vancouver").startswith("2026-12-01 13:00")
