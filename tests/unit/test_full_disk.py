"""A disk that takes nothing more: an error that may go away, nothing half-written, and what was there stays."""

import errno
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from city_platform.engines.duckdb import DuckDBEngine
from city_platform.engines.session import EngineUnavailable
from city_platform.lake.lake import Lake
from city_platform.lake.sink import ParquetSink, workspace
from city_platform.local.keys import LocalKeyService
from city_platform.local.store import LocalObjectStore
from city_platform.ports import KeyServiceUnavailable, StoreUnavailable
from tests.full_disk import full
from tests.town import StandingClock

KEY = "catalog/tables.json"


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_an_object_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path)
    store.put(KEY, b"before")
    with full(), pytest.raises(StoreUnavailable, match=f"cannot write {KEY}"):
        store.put(KEY, bytes(1000))
    assert (store.get(KEY), files(tmp_path)) == (b"before", ["tables.json"])


def test_a_store_that_cannot_begin_says_so(tmp_path: Path) -> None:
    tmp_path.joinpath("scratch").touch()
    with pytest.raises(StoreUnavailable, match="cannot write below"):
        LocalObjectStore(tmp_path).put(KEY, b"")


def test_what_cannot_be_removed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    store = LocalObjectStore(tmp_path)
    store.put(KEY, b"")
    monkeypatch.setattr(Path, "unlink", read_only)
    with pytest.raises(StoreUnavailable, match=f"cannot remove {KEY}: Read-only file system"):
        store.delete(KEY)


def test_unfinished_rows_go_with_their_folder(tmp_path: Path) -> None:
    lake = Lake(LocalObjectStore(tmp_path), StandingClock())
    rows = pa.record_batch({"n": pa.array(range(10_000))})

    def write() -> None:
        with workspace(lake) as folder, ParquetSink(folder / "rows.parquet", rows.schema) as sink:
            sink.write(rows)
            sink.finish()

    with full(), pytest.raises(StoreUnavailable, match="File too large"):
        write()
    assert files(tmp_path) == []
    write()


def test_what_is_wrong_with_a_source_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), workspace(Lake(LocalObjectStore(tmp_path), StandingClock())):
        raise FileNotFoundError(errno.ENOENT, "no such source")


def test_keys_stay_as_they_were(tmp_path: Path) -> None:
    service = LocalKeyService(tmp_path / "keys.json")
    service.create("alias/a")
    with full(), pytest.raises(KeyServiceUnavailable, match="cannot write"):
        service.create("alias/b")
    assert [one.name for one in service.keys()] == ["alias/a"]  # noqa: SIM118 -- not a mapping
    assert files(tmp_path) == ["keys.json", "keys.json.lock"]


@pytest.mark.parametrize("failure", [duckdb.OutOfMemoryException, duckdb.IOException])
def test_an_engine_without_room_is_tried_again(tmp_path: Path, failure: type[duckdb.Error]) -> None:
    with pytest.raises(EngineUnavailable, match="no room"), DuckDBEngine(tmp_path).session():
        raise failure("no room\nLINE 1: SELECT 'Kim'")
