"""The passed rows of a quality-checked partition: the cleaned rows without those in failed/.

They are not written a second time: that took as long as all rules together, and two copies can disagree.
"""

from collections.abc import Sequence
from pathlib import Path

from city_platform.engines.session import Session


def passed_rows(session: Session, rows: Sequence[Path | str], failed: Sequence[Path | str]) -> str:
    """SELECT for the passed rows of one partition. The order of the rows is not kept."""
    sql = f"SELECT * FROM {session.parquet(rows)} AS cleaned"
    return f"{sql} ANTI JOIN {session.parquet(failed)} AS failed USING (_source, _row)" if failed else sql
