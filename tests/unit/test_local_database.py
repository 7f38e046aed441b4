"""What a damaged file, a full disk and a folder that cannot be written to come to."""

from pathlib import Path

import pytest

from city_platform.errors import PermanentError, TransientError
from city_platform.local.database import DamagedDatabase, Database, OutdatedDatabase
from tests.full_disk import full

SCHEMA = ("CREATE TABLE IF NOT EXISTS one (n INTEGER, text TEXT)",)


class Away(TransientError):
    """The tested database did not answer."""


def database(path: Path) -> Database:
    return Database(path, SCHEMA, Away, "the test's database")


def filled(path: Path) -> Database:
    opened = database(path)
    with opened.transaction() as connection:
        connection.executemany("INSERT INTO one VALUES (?, ?)", [(n, "x" * 500) for n in range(200)])
    opened.compact()
    return opened


def test_a_file_cut_short_is_named_and_waits_for_a_person(tmp_path: Path) -> None:
    path = tmp_path / "one.sqlite"
    filled(path)
    data = path.read_bytes()
    damaged = tmp_path / "two.sqlite"
    damaged.write_bytes(data[: len(data) // 2])
    with pytest.raises(DamagedDatabase, match=r"two\.sqlite is damaged .*restore it from a backup") as error:
        database(damaged).read("SELECT sum(length(text)) FROM one")
    assert isinstance(error.value, PermanentError)  # trying again would give the same answer


def test_tables_of_an_earlier_version_are_told_and_left_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "one.sqlite"
    Database(path, ("CREATE TABLE IF NOT EXISTS one (n INTEGER)",), Away, "the test's database").read("SELECT 1")
    wider = (*SCHEMA, "CREATE INDEX IF NOT EXISTS texts ON one (text)", "CREATE TABLE IF NOT EXISTS two (n INTEGER)")
    with pytest.raises(OutdatedDatabase, match=r"one\.sqlite was written by an earlier version .* one lacks text\. "):
        Database(path, wider, Away, "the test's database").read("SELECT 1")
    assert filled(tmp_path / "two.sqlite").read("SELECT name FROM sqlite_schema") == [("one",)]
    # A table more, or a column more than is asked for, is no harm.
    Database(tmp_path / "two.sqlite", wider, Away, "the test's database").read("SELECT n FROM two")
    Database(path, ("CREATE TABLE IF NOT EXISTS two (n INTEGER)",), Away, "the test's database").read("SELECT 1")


def test_what_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "one.sqlite"
    path.write_bytes(b"something else, and long enough to be taken for a header of SQLite's" * 10)
    before = path.read_bytes()
    with pytest.raises(DamagedDatabase):
        database(path).read("SELECT 1")
    assert path.read_bytes() == before


def test_a_full_disk_takes_the_transaction_back_and_says_what_it_was(tmp_path: Path) -> None:
    opened = filled(tmp_path / "one.sqlite")
    with full(300_000), pytest.raises(Away, match="disk") as error, opened.transaction() as connection:
        connection.executemany("INSERT INTO one VALUES (?, ?)", [(n, "y" * 5000) for n in range(2000)])
    assert "rollback" not in str(error.value)
    assert opened.read("SELECT count(*) FROM one") == [(200,)]
    with opened.transaction() as connection:
        connection.execute("INSERT INTO one VALUES (1, '')")


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    tmp_path.joinpath("file").touch()
    with pytest.raises(Away, match=r"one\.sqlite"):
        database(tmp_path / "file" / "one.sqlite").read("SELECT 1")
