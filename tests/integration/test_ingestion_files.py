"""Large and real files through the split."""

import gzip
import os
import random
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from city_platform.contracts.model import Classification, Column, Contract, Partitioning, PartitionTransform
from city_platform.ingestion import partition_files
from city_platform.ingestion.formats import UnreadableSource
from city_platform.ingestion.split import Split, split_source

ROOT = Path(__file__).parents[2]
REAL = ROOT / os.environ.get("CITY_REAL_DATA", "../shared/data") / "vancouver"
real_data = pytest.mark.skipif(not REAL.is_dir(), reason=f"no real files under {REAL} (CITY_REAL_DATA)")


def contract(partitioning: Partitioning, *source_names: str) -> Contract:
    columns = tuple(
        Column(
            name=name, source_name=name, aliases=(), logical_type="string", sql_type="VARCHAR",
            classification=Classification.PERSONAL, description="", required_in_source=True, nullable=True,
            key_position=None, masking=None, line=1,
        )
        for name in source_names
    )  # fmt: skip
    return Contract(
        id="c", name="dataset", title="", purpose="", version="1", owner="team:city", domain="", licence="",
        source_url="", cadence="daily", freshness=timedelta(days=1), columns=columns, partitioning=partitioning,
        latest_by=None,
    )  # fmt: skip


PARKS = contract(Partitioning("Year", PartitionTransform.FOUR_DIGITS), "Year", "Name", "Note")


def check(done: Split) -> None:
    """Every row is in one place, in order."""
    assert done.rows == sum(part.rows for part in done.partitions) + done.unplaced
    numbers: list[int] = []
    for part in done.partitions:
        own = pq.read_table(part.file, columns=["_row"])["_row"].to_pylist()
        assert len(own) == part.rows
        assert own == sorted(own)
        numbers += own
    assert len(set(numbers)) == done.rows - done.unplaced


def _many_quoted_lines(path: Path, records: int, broken_at: int | None = None) -> None:
    """Cells whose lines look like records of the file: what a reader starting in the middle falls for."""
    chance = random.Random(7)  # noqa: S311 - repeatable, not secret
    with path.open("w", newline="") as file:
        file.write("Year;Name;Note\r\n")
        for record in range(records):
            inner = "\r\n".join(f"2024;trap;{chance.randrange(10**9)}" for _ in range(chance.randrange(50)))
            file.write(f'{2020 + record % 4};"{inner}";{record}\r\n')
            if record == broken_at:
                file.write('2023;"never closed;x\r\n')


def test_quoted_line_breaks_across_all_buffers(tmp_path: Path) -> None:
    path = tmp_path / "quoted.csv"
    _many_quoted_lines(path, 24_000)
    assert path.stat().st_size > 12_000_000  # several of the reader's buffers
    done = split_source(path, PARKS, tmp_path / "out")
    check(done)
    assert (done.rows, done.unreadable, len(done.partitions)) == (24_000, 0, 4)
    for part in done.partitions:
        for row in pq.read_table(part.file, columns=["Note", "_row"]).slice(0, 2_000).to_pylist():
            assert int(row["Note"]) == row["_row"]


def test_a_quote_never_closed_among_quoted_cells(tmp_path: Path) -> None:
    path = tmp_path / "quoted.csv"
    _many_quoted_lines(path, 20_000, broken_at=9_999)
    done = split_source(path, PARKS, tmp_path / "out")
    check(done)
    assert (done.rows, done.unreadable) == (20_000, 1)


def test_a_quote_never_closed_costs_one_line(tmp_path: Path) -> None:
    """DuckDB asked to go on by itself loses most of such a file: the reason for the exact reader."""
    path = tmp_path / "plain.csv"
    with path.open("w") as file:
        file.write("Year;Name;Note\n")
        for row in range(300_000):
            file.write("2023;abc;x\n")
            if row == 100_000:
                file.write('2023;"never closed;x\n')
    done = split_source(path, PARKS, tmp_path / "out")
    assert (done.rows, done.unreadable) == (300_000, 1)
    assert done.unreadable_file is not None
    assert pq.read_table(done.unreadable_file)["line"].to_pylist() == [100_003]


@pytest.mark.parametrize("newline", [b"\n", b"\r"])
def test_a_line_of_fifty_megabytes(newline: bytes, tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    good = newline.join([b"2023;a;b"] * 5_000)
    path.write_bytes(newline.join([b"Year;Name;Note", good, b"2023;" + b"x" * 50_000_000 + b";y", good, b""]))
    done = split_source(path, PARKS, tmp_path / "out")
    assert (done.rows, done.unreadable) == (10_000, 1)
    assert done.unreadable_file is not None
    assert pq.read_table(done.unreadable_file).select(["line", "reason"]).to_pylist() == [
        {"line": 5_002, "reason": "longer than 2,097,152 bytes"}
    ]
    path.write_bytes(b"x" * 50_000_000)
    with pytest.raises(UnreadableSource, match="the header is longer"):
        split_source(path, PARKS, tmp_path / "again")


def test_gzip_is_as_good_as_plain(tmp_path: Path) -> None:
    plain, packed = tmp_path / "a.csv", tmp_path / "a.csv.gz"
    plain.write_bytes(b"Year;Name;Note\n" + b"".join(b"%d;a;%d\n" % (2020 + n % 3, n) for n in range(300_000)))
    packed.write_bytes(gzip.compress(plain.read_bytes(), 1))
    one = split_source(plain, PARKS, tmp_path / "one")
    other = split_source(packed, PARKS, tmp_path / "other")
    assert [part.file.read_bytes() for part in one.partitions] == [part.file.read_bytes() for part in other.partitions]
    assert {file.suffix for file in (tmp_path / "other").iterdir()} == {".parquet"}
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(packed.read_bytes()[:-100_000])
    with pytest.raises(UnreadableSource, match="cut off or damaged"):
        split_source(cut, PARKS, tmp_path / "cut")
    assert list((tmp_path / "cut").iterdir()) == []


@pytest.fixture
def threads_of_arrow() -> Iterator[None]:
    """Their number as it was, afterwards."""
    before = pa.cpu_count()
    yield
    pa.set_cpu_count(before)


@pytest.mark.usefixtures("threads_of_arrow")
def test_the_same_bytes_whatever_the_number_of_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(
        b"Year;Name;Note\n" + b"".join(b"%d;%d;%s\n" % (2020 + n * n % 7, n, b"z" * (n % 90)) for n in range(700_000))
    )
    written = []
    for threads in (1, 2, 4):
        monkeypatch.setattr(partition_files, "LANES", threads)
        pa.set_cpu_count(threads)
        done = split_source(path, PARKS, tmp_path / f"out{threads}")
        assert pq.ParquetFile(done.partitions[0].file).num_row_groups > 1
        written.append([part.file.read_bytes() for part in done.partitions])
    assert written[0] == written[1] == written[2]


def _workbook(path: Path, rows: list[list[str]]) -> None:
    """The least that is a workbook; cells are given as XML."""
    sheet = "".join(f"<row>{''.join(row)}</row>" for row in rows)
    namespace = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    relation = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    sheets = '<sheet name="Empty" sheetId="1" r:id="e"/><sheet name="Data" sheetId="2" r:id="d"/>'
    targets = "".join(
        f'<Relationship Id="{id_}" Type="{relation}/worksheet" Target="worksheets/{id_}.xml"/>' for id_ in "ed"
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("[Content_Types].xml", f'<Types xmlns="{package}/content-types"/>')
        root = f'<Relationship Id="w" Type="{relation}/officeDocument" Target="xl/workbook.xml"/>'
        archive.writestr("_rels/.rels", f'<Relationships xmlns="{package}/relationships">{root}</Relationships>')
        book = f'<workbook {namespace} xmlns:r="{relation}"><sheets>{sheets}</sheets></workbook>'
        archive.writestr("xl/workbook.xml", book)
        archive.writestr(
            "xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{package}/relationships">{targets}</Relationships>'
        )
        archive.writestr("xl/worksheets/e.xml", f"<worksheet {namespace}><sheetData/></worksheet>")
        archive.writestr("xl/worksheets/d.xml", f"<worksheet {namespace}><sheetData>{sheet}</sheetData></worksheet>")


def _text(value: str) -> str:
    return f'<c t="inlineStr"><is><t xml:space="preserve">{value}</t></is></c>'


def test_a_workbook(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    header = [_text("Year"), _text("Name"), _text("Note")]
    body = [
        ["<c><v>2023.0</v></c>", _text("two\nlines"), "<c><v>0.1</v></c>"],
        ["<c/>", "<c/>", "<c/>"],
        ["<c><v>2024</v></c>", '<c t="b"><v>1</v></c>', "<c><v>1e21</v></c>"],
    ]
    _workbook(path, [header, *body])
    done = split_source(path, PARKS, tmp_path / "out")
    check(done)
    assert [pq.read_table(part.file).to_pylist() for part in done.partitions] == [
        [{"Year": "2023", "Name": "two\nlines", "Note": "0.1", "_row": 0}],
        [{"Year": "2024", "Name": "true", "Note": "1000000000000000000000", "_row": 1}],
    ]
    packed = tmp_path / "book.xlsx.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert split_source(packed, PARKS, tmp_path / "packed").rows == 2
    _workbook(path, [header])
    with pytest.raises(UnreadableSource, match="a header and no rows"):
        split_source(path, PARKS, tmp_path / "none")
    _workbook(path, [])
    with pytest.raises(UnreadableSource, match="no sheet of the workbook"):
        split_source(path, PARKS, tmp_path / "empty")


LICENCE_HEADERS = """FOLDERYEAR LicenceRSN LicenceNumber LicenceRevisionNumber BusinessName BusinessTradeName Status
IssuedDate ExpiredDate BusinessType BusinessSubType Unit UnitType House Street City Province Country PostalCode
LocalArea NumberofEmployees FeePaid ExtractDate Geom geo_point_2d"""
LICENCES = contract(Partitioning("FOLDERYEAR", PartitionTransform.TWO_DIGITS), *LICENCE_HEADERS.split())


@real_data
@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "rows"),
    [("portal-subset-2025.csv", 3_385), ("api-rows-2013-2024.csv", 10_000), ("api-rows-2024-plus.csv", 10_000)],
)
def test_every_licence_file(name: str, rows: int, tmp_path: Path) -> None:
    done = split_source(REAL / "business-licences" / name, LICENCES, tmp_path / "out")
    check(done)
    assert (done.rows, done.unreadable, done.unplaced, done.drift) == (rows, 0, 0, ())
    assert list(done.present) == [column.source_name for column in LICENCES.columns]


@real_data
@pytest.mark.real_data
def test_the_parking_file(tmp_path: Path) -> None:
    tickets = contract(
        Partitioning("EntryDate", PartitionTransform.YEAR, ("%m/%d/%Y",)),
        *["Block", "Street", "EntryDate", "Bylaw", "Section", "Status", "InfractionText", "Year", "BI_ID"],
    )
    path = REAL / "parking-tickets" / "parking_tickets_1.jsonl.gz"
    done = split_source(path, tickets, tmp_path / "out")
    check(done)
    with gzip.open(path) as lines:
        assert done.rows == sum(1 for _ in lines)
    assert (done.unreadable, done.unplaced) == (0, 0)


@real_data
@pytest.mark.real_data
def test_the_permits_workbook_and_a_file_with_carriage_returns_alone(tmp_path: Path) -> None:
    permits = contract(
        Partitioning("IssueYear", PartitionTransform.FOUR_DIGITS), "PermitNumber", "IssueYear", "ProjectDescription"
    )
    done = split_source(REAL / "issued-building-permits/2023_issued-building-permits.xlsx", permits, tmp_path / "x")
    check(done)
    assert (done.rows, done.unplaced, [part.partition for part in done.partitions]) == (4_662, 0, ["2023"])
    descriptions = pq.read_table(done.partitions[0].file)["ProjectDescription"].to_pylist()
    assert sum("\n" in text for text in descriptions if text) > 3_000

    crime = contract(Partitioning("YEAR", PartitionTransform.FOUR_DIGITS), "TYPE", "YEAR", "HUNDRED_BLOCK")
    original = REAL / "vpd-crime/crimedata_csv_AllNeighbourhoods_2022.csv"
    returns = tmp_path / "returns.csv"
    returns.write_bytes(original.read_bytes().replace(b"\n", b"\r"))
    one = split_source(original, crime, tmp_path / "lf")
    other = split_source(returns, crime, tmp_path / "cr")
    check(one)
    assert one.rows == other.rows > 30_000
    assert [part.file.read_bytes() for part in one.partitions] == [part.file.read_bytes() for part in other.partitions]


@real_data
@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("3-1-1-service-requests/raw_311_2026-04-19.csv", "service_request_open_timestamp"),
        ("3-1-1-contact-centre-metrics/3-1-1-contact-centre-metrics_2024-10.csv", "Date"),
        ("animal-control/animal-control-inventory-lost-and-found.csv", "Date"),
        ("animal-control/animal-control-inventory-register_2022-02.csv", "DateImpounded"),
    ],
)
def test_other_files_by_date(name: str, column: str, tmp_path: Path) -> None:
    dated = contract(Partitioning("", PartitionTransform.YEAR), column)
    dated = replace(dated, partitioning=Partitioning(column, PartitionTransform.YEAR))
    done = split_source(REAL / name, dated, tmp_path / "out")
    check(done)
    assert done.unreadable == 0


def test_a_snapshot_is_of_the_year_in_its_name_or_of_the_day_it_landed(tmp_path: Path) -> None:
    parks = replace(PARKS, partitioning=Partitioning(None, PartitionTransform.SNAPSHOT, last_year=2030))
    header = ";".join(column.source_name for column in parks.columns)
    rows = "\n".join(";".join("1" for _ in parks.columns) for _ in range(3))
    new_year_eve = datetime(2025, 1, 1, 7, 59, tzinfo=UTC)  # in Vancouver it is still 2024
    for name, landed, year in (("list_2019.csv", new_year_eve, "2019"), ("list.csv", new_year_eve, "2024")):
        (tmp_path / name).write_text(f"{header}\n{rows}\n")
        done = split_source(tmp_path / name, parks, tmp_path / f"out-{name}", landed=landed)
        assert [(part.partition, part.rows) for part in done.partitions] == [(year, 3)]
    (tmp_path / "list_2031.csv").write_text(f"{header}\n{rows}\n")
    for file, moment in (("list.csv", None), ("list_2031.csv", new_year_eve)):
        with pytest.raises(UnreadableSource, match="nothing tells the year"):
            split_source(tmp_path / file, parks, tmp_path / "refused", landed=moment)
