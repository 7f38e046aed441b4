"""Publishing is whole or absent, repeatable, and never overtaken silently."""

import errno
import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from city_platform.contracts.model import OldVersions
from city_platform.lake.lake import Lake, NotPublished, PublishedMeanwhile, StagedFile
from city_platform.lake.manifest import Manifest, StoredFile, UnreadableManifest
from city_platform.lake.pruning import Inventory, plan
from city_platform.lake.sink import ROW_GROUP_ROWS, ParquetSink, workspace
from city_platform.local.store import LocalObjectStore
from city_platform.ports import ObjectNotFound, StoreUnavailable


@dataclass
class SteppingClock:
    """Every look is a minute later."""

    time: datetime = field(default=datetime(2026, 3, 8, 9, 0, tzinfo=UTC))

    def now(self) -> datetime:
        self.time += timedelta(minutes=1)
        return self.time


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(LocalObjectStore(tmp_path / "lake"), SteppingClock())


def publish(lake: Lake, content: str, base: int | None = None) -> Manifest:
    with workspace(lake) as folder:
        file = folder / "part-00000.txt"
        file.write_text(content)
        return lake.publish(
            "cleaned",
            "trees",
            "2024",
            inputs={"raw": content},
            parts={"rows": [StagedFile.of(file, 1)]},
            counts={"rows": 1},
            schema=[("Name", "string")],
            details={"sources": ["a.csv"]},
            base=base,
        )


def test_bytes_count_as_often_as_their_file_is_given_out_and_are_told_once(lake: Lake) -> None:
    first, second = publish(lake, "one"), publish(lake, "three")
    assert lake.opened.take() == 0  # a manifest is no file of rows
    lake.paths(first, "rows")
    lake.paths(second, "rows")
    lake.paths(second, "rows")
    lake.paths(second, "failed")
    assert lake.opened.take() == 3 + 5 + 5
    assert lake.opened.take() == 0
    lake.store.delete(first.parts["rows"][0].key)
    with pytest.raises(ObjectNotFound):
        lake.paths(first, "rows")
    assert lake.opened.take() == 0


def test_only_files_that_were_put_into_the_lake_count_as_written(lake: Lake) -> None:
    first = publish(lake, "one")
    assert (lake.written.take(), lake.written.take()) == (3, 0)
    lake.publish(
        "quality_checked", "trees", "2024", inputs={}, parts={"passed": first.parts["rows"]}, counts={}, schema=[]
    )
    publish(lake, "one")
    assert lake.written.take() == 0
    publish(lake, "three")
    assert lake.written.take() == 5


def test_the_newest_version_is_read_and_the_older_stay(lake: Lake) -> None:
    first, second = publish(lake, "one"), publish(lake, "two")
    assert [first.sequence, second.sequence] == [1, 2]
    assert lake.latest("cleaned", "trees", "2024") == second
    assert lake.paths(second, "rows")[0].read_text() == "two"
    assert lake.paths(first, "rows")[0].read_text() == "one"
    assert lake.partitions("cleaned", "trees") == ["2024"]


def test_publishing_the_same_again_writes_nothing(lake: Lake) -> None:
    first = publish(lake, "one")
    assert publish(lake, "one") == first
    assert len(list(lake.history("cleaned", "trees", "2024"))) == 1


def test_equal_content_has_an_equal_version_wherever_it_is_made(lake: Lake, tmp_path: Path) -> None:
    elsewhere = Lake(LocalObjectStore(tmp_path / "elsewhere"), SteppingClock())
    assert publish(lake, "one").version == publish(elsewhere, "one").version
    assert publish(lake, "one").version != publish(lake, "two").version


def test_a_writer_that_started_from_an_older_version_is_told(lake: Lake) -> None:
    publish(lake, "one")
    publish(lake, "two")
    with pytest.raises(PublishedMeanwhile):
        publish(lake, "three", base=1)
    newest = lake.require("cleaned", "trees", "2024")
    assert lake.paths(newest, "rows")[0].read_text() == "two"


def test_data_without_a_manifest_does_not_exist(lake: Lake) -> None:
    publish(lake, "one")
    lake.store.put("cleaned/trees/year=2024/0123456789abcdef/rows/part-00000.txt", b"left by a killed run")
    newest = lake.require("cleaned", "trees", "2024")
    assert [path.read_text() for path in lake.paths(newest, "rows")] == ["one"]


@pytest.mark.parametrize("name", ["0000000001.json.bak", "0000000001.json~", ".DS_Store", "notes.json"])
def test_what_somebody_put_beside_manifests_is_none(lake: Lake, name: str) -> None:
    first = publish(lake, "one")
    lake.store.put(f"manifests/cleaned/trees/2024/{name}", b"{}")
    lake.store.put(f"pruned/cleaned/trees/2024/{name}", b"{}")
    lake.store.put(f"manifests/cleaned/{name}", b"{}")
    assert lake.latest("cleaned", "trees", "2024") == first
    assert publish(lake, "two").sequence == 2
    assert [one.pruned_at for one in lake.versions("cleaned", "trees", "2024")] == [None, None]
    assert plan(lake, "trees", Inventory.of(lake), OldVersions()).versions == ()


def test_a_damaged_manifest_says_which_it_is_and_what_to_do(lake: Lake) -> None:
    first = publish(lake, "one")
    key = "manifests/cleaned/trees/2024/0000000002.json"
    publish(lake, "two")
    lake.store.put(key, lake.store.get(key)[:-1])
    with pytest.raises(UnreadableManifest, match=f"{key}: not a manifest.*Restore it"):
        publish(lake, "three")
    lake.store.delete(key)
    assert lake.latest("cleaned", "trees", "2024") == first
    note = "pruned/cleaned/trees/2024/0000000001.json"
    lake.store.put(note, b"{")
    with pytest.raises(UnreadableManifest, match=f"{note}: .*Remove it"):
        lake.versions("cleaned", "trees", "2024")


def test_a_folder_that_cannot_be_listed_is_not_an_empty_one(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(lake, "one")

    def denied(place: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", place)

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(StoreUnavailable, match="cannot list manifests/cleaned/trees/2024/: Permission denied"):
        lake.latest("cleaned", "trees", "2024")


def test_an_unpublished_partition_says_what_to_do(lake: Lake) -> None:
    assert lake.latest("cleaned", "trees", "2024") is None
    with pytest.raises(NotPublished, match="materialize cleaned of that partition first"):
        lake.require("cleaned", "trees", "2024")
    publish(lake, "one")
    with pytest.raises(NotPublished, match="or ask for one of: 2024"):
        lake.require("cleaned", "trees", "1800")


def test_an_earlier_version_can_be_made_the_newest_again(lake: Lake) -> None:
    first = publish(lake, "one")
    publish(lake, "two")
    again = lake.restore("cleaned", "trees", "2024", first.version)
    assert again.sequence == 3
    assert lake.paths(lake.require("cleaned", "trees", "2024"), "rows")[0].read_text() == "one"
    with pytest.raises(NotPublished):
        lake.restore("cleaned", "trees", "2024", "no such version")


def test_a_workspace_leaves_nothing_behind(lake: Lake) -> None:
    folders = []

    def die() -> None:
        with workspace(lake) as folder:
            folders.append(folder)
            folder.joinpath("half").write_text("x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        die()
    assert not folders[0].exists()


texts = st.text(max_size=20)


@given(
    st.dictionaries(texts, st.integers(0, 2**40)),
    st.lists(st.builds(StoredFile, texts, st.integers(0), texts, st.integers(0)), max_size=3),
    st.lists(st.dictionaries(texts, st.none() | st.booleans() | st.integers() | texts), max_size=3),
)
def test_a_manifest_survives_its_json(
    counts: dict[str, int], files: list[StoredFile], preview: list[dict[str, object]]
) -> None:
    time = datetime(2026, 3, 8, 9, 0, 0, 123456, tzinfo=UTC)
    manifest = Manifest(
        "raw", "d", "2024", 3, "v", {"a": "b"}, {"rows": files}, counts, [("x", "int64")], time, preview
    )
    assert Manifest.from_json(manifest.to_json()) == manifest


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfe", b"[]", b"null", b'{"format": 1}', b'{"format": 99}', b'{"format": 1, "schema": 3}']
)
def test_what_is_not_a_manifest_is_a_typed_error(data: bytes) -> None:
    with pytest.raises(UnreadableManifest):
        Manifest.from_json(data)


def test_a_manifest_is_json_people_can_read(lake: Lake) -> None:
    body = json.loads(publish(lake, "one").to_json())
    assert body["counts"] == {"rows": 1}
    assert body["published_at"].endswith("+00:00")


def test_a_sink_keeps_rows_in_order_in_bounded_row_groups(tmp_path: Path) -> None:
    schema = pa.schema([("n", pa.int64())])
    with ParquetSink(tmp_path / "x.parquet", schema) as sink:
        for start in range(0, 200_000, 10_000):
            sink.write(pa.record_batch([pa.array(range(start, start + 10_000))], schema=schema))
        (staged,) = sink.finish()
    file = pq.ParquetFile(staged.path)
    assert staged.rows == 200_000 == file.metadata.num_rows
    assert max(file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)) <= ROW_GROUP_ROWS + 10_000
    assert not any("DICTIONARY" in one for one in file.metadata.row_group(0).column(0).encodings)  # each value once
    assert file.read()["n"].to_pylist() == list(range(200_000))
    assert staged.path.stat().st_mode & 0o777 == 0o600


def test_an_empty_sink_leaves_a_file_only_where_one_is_wanted(tmp_path: Path) -> None:
    schema = pa.schema([("n", pa.int64())])
    with ParquetSink(tmp_path / "a.parquet", schema) as sink:
        (staged,) = sink.finish()
    assert pq.read_table(staged.path).num_rows == 0
    with ParquetSink(tmp_path / "b.parquet", schema, even_empty=False) as sink:
        assert sink.finish() == []
    assert not (tmp_path / "b.parquet").exists()


@pytest.mark.parametrize("batch_rows", [977, 2_048, 65_536])
def test_a_file_depends_on_its_rows_and_not_on_how_they_came(tmp_path: Path, batch_rows: int) -> None:
    """So that one engine's file is another's, whose batches are of other sizes."""
    rows = pa.table(
        {
            "n": pa.array(range(60_000), pa.int64()),
            # So long that a row group has several pages, which end where so and so many rows came.
            "word": pa.array([None if n % 7 == 0 else f"{n} {'x' * (n % 150)}" for n in range(60_000)], pa.string()),
            "listed": pa.array([["a", "b"][: n % 3] for n in range(60_000)], pa.list_(pa.string())),
        }
    )
    files = []
    for place, size in enumerate((60_000, batch_rows)):
        with ParquetSink(tmp_path / f"{place}.parquet", rows.schema) as sink:
            for batch in rows.to_batches(max_chunksize=size):
                sink.write(batch)
            files += sink.finish()
    assert files[0].sha256 == files[1].sha256
