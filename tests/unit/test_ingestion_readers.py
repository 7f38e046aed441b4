"""The fast reader is checked, and the files do not show how their rows arrived."""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from city_platform.ingestion import delimited, partition_files
from city_platform.ingestion.delimited import NotFlawless, flawless_rows
from city_platform.ingestion.formats import SourceFormat, recognise
from city_platform.ingestion.lines import MAX_LINE_BYTES, physical_lines
from city_platform.ingestion.partition_files import PartitionFiles

FLAWLESS = [
    b"a;b\n1;2\n3;4\n",
    b"\xef\xbb\xbfa;b\r\n1;2\r\n3;4",
    b"a;b\r1;2\r3;4\r",
    b'a;b\n1;"2\n\n2"\n3;"\r\n"\n',
    b'a;b\r\n\r\n1;"2""\n2"\r\n\r\n\r\n3;4\r\n\r\n',
    b'"a";"b\nc"\n1;2\n\n3;4\n\n',
    b'a\n1\n\n"x\ny"\n',
    b'a;b\n1;""\n"";"""3"""\n',
    b"a;b\n" + b'1;"x\ny"\n' * 60_000,  # marks fall on every place of a block's edge
]


def _read(path: Path) -> int:
    form = recognise(path)
    return sum(batch.num_rows for batch in flawless_rows(path, form, form.headers))


@pytest.mark.parametrize("content", FLAWLESS)
def test_a_flawless_file_is_read_fast_and_a_lost_row_is_noticed(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    assert _read(path) >= 2

    def losing(path: Path, form: SourceFormat, columns: int) -> Iterator[pa.RecordBatch]:
        *others, last = read_blocks(path, form, columns)
        yield from [*others, last.slice(1)]

    read_blocks = delimited.read_blocks
    monkeypatch.setattr(delimited, "read_blocks", losing)
    with pytest.raises(NotFlawless):
        _read(path)


@pytest.mark.parametrize(
    "content",
    [
        b'a;b\n1;"2"x\n',  # Arrow makes 2x of it
        b'a;b\n1;"2" \n',
        b'a;b\n1;5" pipe\n',
        b'a;b\n1; "2"\n',
        b'a;b\n1;"2\n',
        b'a;b\n1;"2"\n"\n',
        b"a;b\n1;2\r3;4\n\n",  # as many lines as rows, and one of them is none
        b"a;b\r\n1;2\r3;4\r\n\r\n",
        b"a;b\r1;2\n3;4\r",
        b"a;b\n1;2;\n",
        b"a;b\n1\n",
        b"a;b\n1;\xff\n",
        b"a;b\n1;" + b"x" * MAX_LINE_BYTES + b"\n",
        b'a;b\n1;"' + b"x\n" * (MAX_LINE_BYTES // 2) + b'"\n',
        b"\na;b\n1;2\n",
    ],
)
def test_what_the_exact_reader_may_read_otherwise_is_left_to_it(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(NotFlawless):
        _read(path)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_physical_lines_over_block_edges(end: bytes, tmp_path: Path) -> None:
    chance = random.Random(3)  # noqa: S311 - repeatable, not secret
    lines = [b"x" * chance.choice([0, 1, 70, 300_000, 1_048_575]) + end for _ in range(30)]
    path = tmp_path / "lines"
    path.write_bytes(b"\xef\xbb\xbf" + b"".join(lines) + b"last")
    assert list(physical_lines(path)) == [*lines, b"last"]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("size", [MAX_LINE_BYTES + 1, 3_145_727, 3_145_728, 5_000_000])
def test_an_over_long_line_is_cut_and_the_next_is_whole(end: bytes, size: int, tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"first" + end + b"x" * size + end + b"after" + end + b"y" * size)
    first, long, after, last = physical_lines(path)
    assert (first, after) == (b"first" + end, b"after" + end)
    assert len(long) > MAX_LINE_BYTES
    assert len(last) > MAX_LINE_BYTES


def test_the_bytes_do_not_show_the_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition_files, "ROW_GROUP_ROWS", 50)
    monkeypatch.setattr(partition_files, "ROW_GROUP_BYTES", 700)
    chance = random.Random(11)  # noqa: S311 - repeatable, not secret
    texts = [chance.choice([None, "a", "b" * chance.randrange(90)]) for _ in range(3_000)]
    whole = pa.record_batch({"text": pa.array(texts, pa.string()), "_row": pa.array(range(3_000), pa.int64())})
    written = []
    for cut in (3_000, 1_000, 37):
        folder = tmp_path / str(cut)
        folder.mkdir()
        with PartitionFiles(folder) as files:
            for start in range(0, 3_000, cut):
                part = pa.Table.from_batches([whole.slice(start, cut)])
                rows = np.arange(part.num_rows)
                years = (rows + start) % 3
                files.add(part, [(str(2020 + year), rows[years == year]) for year in range(3)])
            done = files.finish()
        assert {name: rows for name, (_, rows) in done.items()} == {"2020": 1_000, "2021": 1_000, "2022": 1_000}
        assert pq.read_table(done["2021"][0])["text"].to_pylist() == texts[1::3]
        assert pq.ParquetFile(done["2021"][0]).num_row_groups > 20
        written.append([path.read_bytes() for path, _ in done.values()])
    assert written[0] == written[1] == written[2]


def test_a_failing_write_is_not_swallowed(tmp_path: Path) -> None:
    batch = pa.table({"text": pa.array(["a"])})
    other = pa.table({"another": pa.array(["a"])})
    with PartitionFiles(tmp_path) as files:
        files.add(batch, [("2020", np.arange(1))])
        files.add(other, [("2020", np.arange(1))])
        with pytest.raises(pa.ArrowException):
            files.finish()


def test_a_partition_that_is_seldom_met_does_not_keep_everything_in_memory(tmp_path: Path) -> None:
    rows = np.arange(1_024)
    before = pa.total_allocated_bytes()
    with PartitionFiles(tmp_path) as files:
        for _ in range(48):
            part = pa.table({"text": pa.array(["x" * 1_024] * len(rows), pa.string())})
            files.add(part, [("1997", rows[:1]), ("2024", rows[1:])])
        del part
        held = pa.total_allocated_bytes() - before
        done = files.finish()
    assert {name: count for name, (_, count) in done.items()} == {"1997": 48, "2024": 48 * 1_023}
    assert held < 24 << 20
