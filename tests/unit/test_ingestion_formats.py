"""What a file is, told by its first bytes, and what is refused at once."""

import gzip
import shutil
import zipfile
from pathlib import Path

import pytest

from city_platform.ingestion import unpacking
from city_platform.ingestion.formats import FormatKind, SourceTooLarge, UnreadableSource, recognise
from city_platform.ingestion.unpacking import UnknownLimit, unpack


def _file(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "source.dat"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "delimiter", "newline", "headers"),
    [
        (b"a;b\n1;2\n", ";", "\n", ("a", "b")),
        (b"a,b\r\n1,2\r\n", ",", "\r\n", ("a", "b")),
        (b"\xef\xbb\xbfa\tb\r1\t2\r", "\t", "\r", ("a", "b")),
        (b"a|b|c", "|", "\n", ("a", "b", "c")),
        (b'"a;b,c";"d\ne"\n1;2\n', ";", "\n", ("a;b,c", "d\ne")),
        (b'"say ""x""",b\n', ",", "\n", ('say "x"', "b")),
        (b"only\n1\n", ";", "\n", ("only",)),
        (b"a;b;;\n", ";", "\n", ("a", "b", "", "")),
        ("straße;größe\n".encode(), ";", "\n", ("straße", "größe")),
    ],
)
def test_csv_dialects(tmp_path: Path, content: bytes, delimiter: str, newline: str, headers: tuple[str, ...]) -> None:
    form = recognise(_file(tmp_path, content))
    assert (form.kind, form.gzip, form.delimiter, form.newline, form.headers) == (
        FormatKind.CSV, False, delimiter, newline, headers,
    )  # fmt: skip


def test_blank_lines_before_the_header_are_counted(tmp_path: Path) -> None:
    form = recognise(_file(tmp_path, b"\r\n\r\na;b\r\n1;2\r\n"))
    assert (form.headers, form.header_line) == (("a", "b"), 3)


def test_json_lines_and_gzip(tmp_path: Path) -> None:
    assert recognise(_file(tmp_path, b'{"a": 1}\n')).kind is FormatKind.JSON_LINES
    form = recognise(_file(tmp_path, gzip.compress(b"a;b\n1;2\n")))
    assert (form.kind, form.gzip, form.headers) == (FormatKind.CSV, True, ("a", "b"))


_WIDE = ";".join(f"column_{place}" for place in range(10_000)).encode() + b"\n"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the file is empty"),
        (b"\xef\xbb\xbf\r\n \r\n", "the file is empty"),
        (gzip.compress(b"", mtime=0), "the file is empty"),
        (bytes(range(256)) * 40, "binary data"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "binary data"),
        (b"%PDF-1.7 ...", "a PDF document"),
        (b"PAR1\x15\x04", "a Parquet file"),
        (b"<!doctype html><html>", "a web page"),
        (b'[{"a": 1}]', "one JSON array"),
        ("a;b\n1;2\n".encode("utf-16"), "UTF-16"),
        ("a;b\n1;2\n".encode("utf-16-le"), "UTF-16"),
        ("ä;ö\n1;2\n".encode("latin-1"), "the header is not UTF-8"),
        (gzip.compress(b"a;b\n" + bytes(range(48, 58)) * 5_000, mtime=0)[:20], "cut off or damaged"),
        (gzip.compress(gzip.compress(b"a;b\n1;2\n", mtime=0), mtime=0), "gzip twice"),
        (_WIDE, "the file has 10,000 columns; at most 1,000 are read"),
        (b"x" * 300_000 + b"\n1\n", "the header is longer than 262,144 bytes"),
        (b'a;"b\n' + b"1;2\n" * 100_000, "a quote in it is never closed"),
        (b'a;"b"c\n1;2\n', "a quote in the header"),
        (b"PK\x03\x04 not really", "the workbook is cut off or damaged"),
    ],
)
def test_refused_at_once(tmp_path: Path, content: bytes, problem: str) -> None:
    with pytest.raises(UnreadableSource, match=problem) as refusal:
        recognise(_file(tmp_path, content))
    assert refusal.value.file == "source.dat"
    assert refusal.value.remedy


def test_an_archive_is_no_workbook_and_a_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.csv", "a;b\n")
    with pytest.raises(UnreadableSource, match="a zip archive and no workbook"):
        recognise(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", bytes(120_000_000))
    with pytest.raises(UnreadableSource, match="would unpack from"):
        recognise(path)


def test_unpack_stops_at_damage_and_at_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = gzip.compress(bytes(range(256)) * 9_000, compresslevel=1)
    cut = _file(tmp_path, whole[: len(whole) // 2])
    with pytest.raises(UnreadableSource, match="cut off or damaged"):
        unpack(cut, tmp_path / "cut")
    monkeypatch.setattr(unpacking, "RATIO_FREE_BYTES", 1_000)
    bomb = _file(tmp_path, gzip.compress(bytes(1_000_000)))
    with pytest.raises(UnreadableSource, match="over 250 times its size"):
        unpack(bomb, tmp_path / "bomb")
    monkeypatch.setattr(unpacking, "MAX_RATIO", 1)
    unpack(_file(tmp_path, gzip.compress(bytes(1_000))), tmp_path / "just so much")
    with pytest.raises(UnreadableSource, match="more than 1,000 bytes"):
        unpack(_file(tmp_path, gzip.compress(bytes(1_001))), tmp_path / "a byte more")


def test_what_is_too_large_for_this_machine_is_refused_whatever_its_ratio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = _file(tmp_path, gzip.compress(b"a;b\n" + b"1;2\n" * 2_000))
    monkeypatch.setenv(unpacking.UNPACKED_LIMIT, "8_003")
    with pytest.raises(SourceTooLarge, match="more than the 8,003 bytes that are taken here"):
        unpack(packed, tmp_path / "plain")
    assert not (tmp_path / "plain").exists()
    monkeypatch.setenv(unpacking.UNPACKED_LIMIT, "8_004")
    unpack(packed, tmp_path / "plain")
    monkeypatch.setenv(unpacking.UNPACKED_LIMIT, "8 kB")
    with pytest.raises(UnknownLimit, match="'8 kB' is no number of bytes: write"):
        unpack(packed, tmp_path / "again")


def test_half_of_the_free_disk_is_taken_where_nothing_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(unpacking.UNPACKED_LIMIT, raising=False)
    usage = type(shutil.disk_usage(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1_000_000, 983_992, 16_008))
    assert unpacking.unpacked_limit(tmp_path) == 8_004


def test_a_workbook_is_bounded_too(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/workbook.xml", bytes(2_000))
        archive.writestr("xl/worksheets/sheet1.xml", b"<c/>")
    assert recognise(path, 2_004).kind == "xlsx"
    with pytest.raises(SourceTooLarge, match="more than the 2,003 bytes"):
        recognise(path, 2_003)


def test_unpacked_file_is_private(tmp_path: Path) -> None:
    unpack(_file(tmp_path, gzip.compress(b"a;b\n") + gzip.compress(b"1;2\n")), tmp_path / "plain")
    assert (tmp_path / "plain").read_bytes() == b"a;b\n1;2\n"
    assert (tmp_path / "plain").stat().st_mode & 0o777 == 0o600
