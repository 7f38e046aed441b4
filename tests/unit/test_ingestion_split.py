"""Small files through the whole split: every dialect, every kind of damage, nothing dropped silently."""

import csv
import gzip
import io
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from city_platform.contracts.model import Classification, Column, Contract, Partitioning, PartitionTransform
from city_platform.ingestion.delimited import NotFlawless, exact_rows, flawless_rows
from city_platform.ingestion.formats import UnreadableSource, recognise
from city_platform.ingestion.headers import BreakingDrift
from city_platform.ingestion.lines import Unreadable
from city_platform.ingestion.split import Split, split_source

SECRET = "Jane-Personal"
BROKEN_QUOTE = "a quote is never closed, or text follows a closing quote"


def contract(*source_names: str) -> Contract:
    columns = tuple(
        Column(
            name=name, source_name=name, aliases=(), logical_type="string", sql_type="VARCHAR",
            classification=Classification.PERSONAL, description="", required_in_source=True, nullable=True,
            key_position=None, masking=None, line=1,
        )
        for name in source_names
    )  # fmt: skip
    return Contract(
        id="c", name="parks", title="", purpose="", version="1", owner="team:parks", domain="", licence="",
        source_url="", cadence="daily", freshness=timedelta(days=1), columns=columns,
        partitioning=Partitioning(source_names[0], PartitionTransform.FOUR_DIGITS), latest_by=None,
    )  # fmt: skip


PARKS = contract("Year", "Name")


def split(content: bytes, tmp_path: Path, form: Contract = PARKS) -> Split:
    path = tmp_path / "source.csv"
    path.write_bytes(content)
    done = split_source(path, form, tmp_path / "out")
    assert done.rows == sum(part.rows for part in done.partitions) + done.unplaced
    return done


def rows(done: Split) -> list[tuple[str | None, ...]]:
    """All placed rows in the order of the source, without their number."""
    found = [row for part in done.partitions for row in pq.read_table(part.file).to_pylist()]
    return [tuple(row[name] for name in done.headers) for row in sorted(found, key=lambda row: row["_row"])]


def unreadable(done: Split) -> list[tuple[int, str, str]]:
    assert done.unreadable_file is not None
    return [(row["line"], row["reason"], row["text"]) for row in pq.read_table(done.unreadable_file).to_pylist()]


TWO_ROWS = [("2023", "Stanley"), ("2024", "Queen E")]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"Year;Name\n2023;Stanley\n2024;Queen E\n", TWO_ROWS),
        (b"\xef\xbb\xbfyear,NAME\r\n2023,Stanley\r\n2024,Queen E\r\n", TWO_ROWS),
        (b"Year\tName\r2023\tStanley\r2024\tQueen E\r", TWO_ROWS),
        (b"\xef\xbb\xbfYear|Name\r2023|Stanley\r2024|Queen E", TWO_ROWS),
        (b"\n\nYear;Name\n\n2023;Stanley\n\n\n2024;Queen E\n\n", TWO_ROWS),
        (b"Year;Name\r\n2023;Stanley\n2024;Queen E\r\n", TWO_ROWS),  # mixed line endings
        (b"Year;Name\n2023;Stanley;;\n2024;Queen E;\n", TWO_ROWS),  # empty cells beyond the header's
        (gzip.compress(b"Year;Name\n2023;Stanley\n", mtime=0) + gzip.compress(b"2024;Queen E\n", mtime=0), TWO_ROWS),
        (b'Year;Name\n2023;"a\nb"\n2024;"c\r\nd;""e"""\n', [("2023", "a\nb"), ("2024", 'c\r\nd;"e"')]),
        (b'Year;Name\r2023;"a\nb"\r2024;"c\rd"\r', [("2023", "a\nb"), ("2024", "c\rd")]),
        (b'Year;Name\n2023;""\n2024;\n', [("2023", None), ("2024", None)]),
        (b"Year;Name\n2023;NULL\n2024; x \n", [("2023", "NULL"), ("2024", " x ")]),
        (b'Year;Name\n2023;5" pipe\n2024;\\n\n', [("2023", '5" pipe'), ("2024", "\\n")]),
        (b"Year;Name\n2023;x\x00y\n2024;#\n", [("2023", "x\x00y"), ("2024", "#")]),
        (b'{"Year": 2023, "Name": "Stanley"}\n{"Name": "Queen E", "Year": "2024"}\n', TWO_ROWS),
        (b'{"Year":2023,"Name":null}\r\n\r\n{"Year":2024,"Name":""}', [("2023", None), ("2024", None)]),
        (
            b'{"Year":2023,"Name":43.0}\n{"Year":2024,"Name":true}\n{"Year":2025,"Name":{"a":[1.0,"\xc3\xa9"]}}\n',
            [("2023", "43.0"), ("2024", "true"), ("2025", '{"a": [1.0, "é"]}')],
        ),
    ],
)
def test_reads_every_dialect(content: bytes, expected: list[tuple[str | None, ...]], tmp_path: Path) -> None:
    done = split(content, tmp_path)
    assert rows(done) == expected
    assert (done.unreadable, done.unplaced, done.unreadable_file, done.unplaced_file) == (0, 0, None, None)
    assert set((tmp_path / "out").iterdir()) == {part.file for part in done.partitions}
    assert all(part.file.stat().st_mode & 0o777 == 0o600 for part in done.partitions)


GOOD = "".join(f"{2020 + place % 3};park {place}\n" for place in range(2_000)).encode()


@pytest.mark.parametrize(
    ("damage", "line_reasons"),
    [
        (b"2023\n2023;a;b\n", [(2_002, "1 cells where the header has 2"), (2_003, "3 cells where the header has 2")]),
        (b"2023;caf\xe9\n", [(2_002, "not valid UTF-8")]),
        (b'2023;"caf\xe9\nx"\n', [(2_002, "not valid UTF-8")]),
        (b'2023;"never closed\n', [(2_002, BROKEN_QUOTE)]),
        (b'2023;"x"y\n', [(2_002, BROKEN_QUOTE)]),
        (b"2023;" + b"x" * 2_200_000 + b"\n", [(2_002, "longer than 2,097,152 bytes")]),
        (
            b'2023;"two\nlines"\n2023;"a"b\n2023\n',
            [
                (2_004, BROKEN_QUOTE),
                (2_005, "1 cells where the header has 2"),
            ],
        ),
    ],
)
def test_broken_lines_are_kept_with_number_and_reason_and_the_rest_goes_on(
    damage: bytes, line_reasons: list[tuple[int, str]], tmp_path: Path
) -> None:
    done = split(b"Year;Name\n" + GOOD + damage + GOOD, tmp_path)
    assert [(line, reason) for line, reason, _ in unreadable(done)] == line_reasons
    assert all(len(text) <= 1_000 for _, _, text in unreadable(done))
    assert done.unreadable == len(line_reasons)
    names = [name for _, name in rows(done) if name is not None and name.startswith("park")]
    assert names == [f"park {place}" for place in range(2_000)] * 2


def test_broken_json_lines(tmp_path: Path) -> None:
    good = b"".join(b'{"Year": 2023, "Name": "%d"}\n' % place for place in range(1_000))
    bad = [
        b'{"Year": 2023, "Na\n',
        b"[1]\n",
        b'{"Year": 1, "Year": 2}\n',
        b'{"Year": "\xe9"}\n',
        b'{"Name": "\\ud800"}\n',
        b'{"Name": ' + b"[" * 100_000 + b"\n",
    ]
    done = split(good + b"".join(bad) + good, tmp_path)
    assert (done.rows, done.unreadable) == (2_000, len(bad))
    assert [line for line, _, _ in unreadable(done)] == list(range(1_001, 1_001 + len(bad)))


def test_a_late_json_key_is_a_new_column(tmp_path: Path) -> None:
    early = b'{"Year": 2023, "Name": "a"}\n' * 40_000
    done = split(early + b'{"Year": 2024, "Late": 1e5}\n', tmp_path)
    assert [(one.kind, one.column) for one in done.drift] == [("new-column", "Late")]
    assert rows(done)[-1] == ("2024", None, "1e5")
    assert rows(done)[0] == ("2023", "a", None)
    assert done.rows == 40_001


def test_rows_without_a_year_are_kept_beside(tmp_path: Path) -> None:
    done = split(b"Year;Name\n" + GOOD + b";lost\n1066;older\n" + GOOD, tmp_path)
    assert done.unplaced == 2
    assert done.unplaced_file is not None
    assert done.unplaced_file.stat().st_mode & 0o777 == 0o600
    reason = "Year is not a year such as 2024, from 1990 to 2100"
    assert pq.read_table(done.unplaced_file).to_pylist() == [
        {"Year": None, "Name": "lost", "_row": 2_000, "_reason": "Year is empty"},
        {"Year": "1066", "Name": "older", "_row": 2_001, "_reason": reason},
    ]
    numbers = [pq.read_table(part.file)["_row"].to_pylist() for part in done.partitions]
    assert all(part == sorted(part) for part in numbers)
    assert sorted(itertools.chain(*numbers)) == [*range(2_000), *range(2_002, 4_002)]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"Year;Name\n", "a header and no rows"),
        (b"Year;Name", "a header and no rows"),
        (b"Year;Name\n2023\n", "1 of 1 rows could not be read"),
        (b"Year;Name\n" + f"x;{SECRET}\n".encode() * 50, r"50 of 50 rows .* Year is not a year .*row 0, row 1"),
        (b"Year;Name\n" + b"2023;a\n" * 500 + f"{SECRET}\n".encode() * 11, r"11 of 511 .*line 502, line 503"),
        (b"Year;Name\n" + "2023;é\n".encode("latin-1") * 50, "iconv -f LATIN1"),
        (b'{"Year": 2023,\n "Name":\n "' + SECRET.encode() + b'"}\n', "not valid JSON"),
    ],
)
def test_what_is_no_dataset_is_refused_without_showing_values(content: bytes, problem: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableSource, match=problem) as refusal:
        split(content, tmp_path)
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize("content", [b"Breed;Color\nLab;Black\n", b"Year;Name;name\n2023;a;b\n", b'{"Year": 2023}\n'])
def test_breaking_drift_stops_before_any_row(content: bytes, tmp_path: Path) -> None:
    told: list[int] = []
    path = tmp_path / "source.csv"
    path.write_bytes(content)
    with pytest.raises(BreakingDrift):
        split_source(path, PARKS, tmp_path / "out", told.append)
    assert told == []
    assert list((tmp_path / "out").iterdir()) == []


def test_empty_and_odd_headers_become_columns(tmp_path: Path) -> None:
    done = split(b'Year;Name;;"a\nb"\n2023;x;y;z\n', tmp_path)
    assert done.headers == ("Year", "Name", "column_3", "a\nb")
    assert rows(done) == [("2023", "x", "y", "z")]


def test_same_input_same_bytes_and_progress(tmp_path: Path) -> None:
    path = tmp_path / "source.csv"
    path.write_bytes(b"Year;Name\n" + GOOD * 20)
    told: list[int] = []
    first = split_source(path, PARKS, tmp_path / "first", told.append)
    second = split_source(path, PARKS, tmp_path / "second")
    assert [part.file.read_bytes() for part in first.partitions] == [
        part.file.read_bytes() for part in second.partitions
    ]
    assert told[-1] == first.rows == 40_000


def cells(batches: Iterator[pa.RecordBatch]) -> list[tuple[str | None, ...]]:
    return [tuple(row.values()) for batch in batches for row in batch.to_pylist()]


_CELLS = st.text(st.sampled_from("ab;,\t|\"'\n\r é漢\u2028\\#"), max_size=6)


@settings(max_examples=60)
@given(
    table=st.lists(st.tuples(st.sampled_from(["2023", "2024", "2025"]), _CELLS, _CELLS), min_size=1, max_size=12),
    delimiter=st.sampled_from(";,\t|"),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    bom=st.booleans(),
    packed=st.booleans(),
)
def test_whatever_the_csv_module_writes_is_read_back(
    table: Sequence[tuple[str, ...]],
    delimiter: str,
    newline: str,
    quoting: Literal[0, 1],
    *,
    bom: bool,
    packed: bool,
) -> None:
    if any({"\r", "\n"} & set(cell) for row in table for cell in row):
        quoting = csv.QUOTE_ALL  # the module leaves a line break unquoted that is not its own
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=quoting, delimiter=delimiter, lineterminator=newline)
    writer.writerows([("Year", "Name", "Note"), *table])
    content = text.getvalue().encode("utf-8-sig" if bom else "utf-8")
    expected = [tuple(cell or None for cell in row) for row in table]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "source.csv"
        path.write_bytes(gzip.compress(content) if packed else content)
        done = split_source(path, contract("Year", "Name", "Note"), Path(folder) / "out")
        assert rows(done) == expected
        assert done.unreadable == 0
        if not packed:
            # Both readers alone: the fast one may decline, never differ.
            form = recognise(path)
            lost = Unreadable()
            exact = [
                tuple(row.values()) for batch in exact_rows(path, form, form.headers, lost) for row in batch.to_pylist()
            ]
            assert (exact, lost.lines) == (expected, [])
            try:
                fast = [row for batch in flawless_rows(path, form, form.headers) for row in batch.to_pylist()]
            except NotFlawless:
                return
            assert [tuple(row.values()) for row in fast] == expected
