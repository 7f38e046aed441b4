import ast
import csv
import gzip
import json
import random
import subprocess
import sys
from collections import Counter
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import yaml

from city_platform.errors import PermanentError
from city_platform.samples import DATASETS, SAMPLE_FILES, InvalidSampleRequest, UnknownSample, generate
from city_platform.samples.chunks import CHUNK_ROWS
from city_platform.samples.contact_centre import INQUIRIES, REQUESTS
from city_platform.samples.licences import HEADERS as LICENCE_HEADERS
from city_platform.samples.licences import HEADERS_1997, generate_licences
from city_platform.samples.remuneration import REMUNERATION
from city_platform.samples.tables import SampleTable, TableForm, weighted
from city_platform.samples.tickets import HEADERS as TICKET_HEADERS
from city_platform.samples.tickets import HEADERS_2010
from city_platform.samples.water_systems import PERMITS, REPORTS

ROOT = Path(__file__).parents[2]
VANCOUVER = ZoneInfo("America/Vancouver")
TABLES = {
    "operating_permits": PERMITS,
    "water_quality_reports": REPORTS,
    "inquiry_volume_311": INQUIRIES,
    "service_requests_311": REQUESTS,
    "employee_remuneration": REMUNERATION,
}


def read(file: Path, delimiter: str) -> list[dict[str, str]]:
    with file.open(encoding="utf-8-sig", newline="") as text:
        return list(csv.DictReader(text, delimiter=delimiter, strict=True))


@pytest.mark.parametrize(
    ("dataset", "headers"), [("business_licences", LICENCE_HEADERS), ("parking_tickets", TICKET_HEADERS)]
)
def test_the_headers_are_those_of_the_contract(dataset: str, headers: tuple[str, ...]) -> None:
    contract = yaml.safe_load((ROOT / "datasets" / dataset / "contract.yaml").read_text(encoding="utf-8"))

    assert [column["physicalName"] for column in contract["schema"][0]["properties"]] == list(headers)


@pytest.mark.parametrize("dataset", SAMPLE_FILES)
def test_the_same_seed_is_the_same_bytes_on_any_number_of_threads(dataset: str, tmp_path: Path) -> None:
    rows = 2 * CHUNK_ROWS + 321
    files = [
        generate(dataset, tmp_path / str(number) / SAMPLE_FILES[dataset], rows, seed, threads=threads).path.read_bytes()
        for number, (seed, threads) in enumerate([(7, 1), (7, 2), (7, 5), (8, 2)])
    ]

    assert files[0] == files[1] == files[2]
    assert files[0] != files[3]


@pytest.mark.parametrize("dataset", TABLES)
def test_tables_have_the_headers_of_the_contract(dataset: str) -> None:
    contract = yaml.safe_load((ROOT / "datasets" / dataset / "contract.yaml").read_text(encoding="utf-8"))
    properties = contract["schema"][0]["properties"]
    labels = {column["physicalName"]: {one["synonym"] for one in column.get("synonyms", ())} for column in properties}
    columns = TABLES[dataset].columns

    assert {column.label for column in columns} <= labels.keys()
    for column in columns:
        assert column.name in {column.label.lower(), *labels[column.label]}
    needed = {
        one["physicalName"]
        for one in properties
        if not any(extra["property"] == "sourceRequired" for extra in one.get("customProperties", ()))
    }
    assert needed <= {column.label for column in columns}


def written_rows(table: SampleTable, out: Path, form: TableForm) -> list[dict[str, str]]:
    """The rows of a sample file as texts, under the names that programs know."""
    file = table.generate(out, 400, 3, form=form).path
    if form is TableForm.JSON_LINES:
        lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        return [{name: "" if value is None else str(value) for name, value in line.items()} for line in lines]
    names = [column.name for column in table.columns]
    rows = read(file, ";" if form is TableForm.PORTAL else ",")
    return [dict(zip(names, row.values(), strict=True)) for row in rows]


@pytest.mark.parametrize("dataset", TABLES)
def test_the_forms_of_a_table_say_the_same(dataset: str, tmp_path: Path) -> None:
    portal, download, lines = (written_rows(TABLES[dataset], tmp_path / form.value, form) for form in TableForm)

    assert portal == lines
    assert len(download) == 400
    for ours, theirs in zip(download, portal, strict=True):
        assert {name for name in ours if ours[name] != theirs[name]} <= {
            "permit_renewal_date", "system_report_date", "geom", "geo_point_2d", "year_month",
            "service_request_open_timestamp", "service_request_close_date",
        }  # fmt: skip
        if moment := ours.get("service_request_open_timestamp"):
            assert datetime.fromisoformat(moment) == datetime.fromisoformat(theirs["service_request_open_timestamp"])
            assert datetime.fromisoformat(moment).astimezone(VANCOUVER).isoformat() == moment
        if point := ours.get("geo_point_2d"):
            pair = ast.literal_eval(point)
            assert theirs["geo_point_2d"] == f"{pair['lat']:.7f}, {pair['lon']:.7f}"
            assert json.loads(theirs["geom"])["coordinates"] == [pair["lon"], pair["lat"]]


def test_a_tables_chunks_are_the_same_on_any_number_of_threads_and_differ(tmp_path: Path) -> None:
    rows = CHUNK_ROWS + 50
    files = [
        generate("employee_remuneration", tmp_path / str(threads), rows, 7, threads=threads).path.read_bytes()
        for threads in (1, 3)
    ]
    lines = files[0].splitlines()

    assert files[0] == files[1]
    assert lines[1:51] != lines[1 + CHUNK_ROWS :]


def test_the_counts_of_inquiries_have_keys_of_their_own(tmp_path: Path) -> None:
    """More rows than there are months, types and channels of one year: still no two of one key but the planted ones."""
    rows = read(INQUIRIES.generate(tmp_path / "i.csv", 3_000, 3, [2020]).path, ";")
    keys = [
        (row["Type"].strip(), row["Year Month"], row["Channel"]) for row in rows if row["Type"] and row["Year Month"]
    ]

    assert 0 < len(keys) - len(set(keys)) < 30


def test_the_form_of_1997_has_days_whole_fees_and_one_point(tmp_path: Path) -> None:
    rows = read(generate("business_licences", tmp_path / "l.csv", 2_000, 3, form="1997").path, ";")

    assert tuple(rows[0]) == HEADERS_1997
    assert {row["FOLDERYEAR"] for row in rows} == {f"{year % 100:02d}" for year in range(1997, 2013)}
    assert all(len(row["IssuedDate"]) in {0, 10} for row in rows)
    assert all(row["FeePaid"].lstrip("-").isdigit() for row in rows if row["FeePaid"])
    assert {row["LocalArea"] for row in rows} == {""}
    assert all(json.loads(row["Geom"])["type"] == "Point" for row in rows if row["Geom"])


def test_weights_are_the_shares_of_what_is_drawn() -> None:
    draw, chance = weighted(("often", 3), ("never", 0), ("seldom", 1)), random.Random(1)  # noqa: S311 - not secret
    drawn = Counter(draw(chance) for _ in range(4_000))

    assert drawn.keys() == {"often", "seldom"}
    assert 2_850 < drawn["often"] < 3_150


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("rows", [0, 1, 2, 999])
def test_small_files_have_their_rows(dataset: str, rows: int, tmp_path: Path) -> None:
    file = generate(dataset, tmp_path / "small.csv", rows, 1)

    assert file.rows == len(read(file.path, ";")) == rows
    assert file.path.read_bytes().startswith(b"\xef\xbb\xbf")


def test_the_portals_licences_end_lines_as_the_portal_does(tmp_path: Path) -> None:
    content = generate("business_licences", tmp_path / "l.csv", 500, 3).path.read_bytes().decode("utf-8-sig")

    assert content.split("\r\n")[0] == ";".join(LICENCE_HEADERS)
    assert content.endswith("\r\n")
    assert content.count("\r\n") == 501


def test_points_are_written_once_as_geojson_and_once_as_a_pair(tmp_path: Path) -> None:
    rows = read(generate("business_licences", tmp_path / "l.csv", 500, 3).path, ";")
    pairs = [(json.loads(row["Geom"]), row["geo_point_2d"]) for row in rows if row["Geom"]]

    assert len(pairs) > 200
    for geometry, pair in pairs:
        latitude, longitude = pair.split(", ")
        assert geometry == {"coordinates": [float(longitude), float(latitude)], "type": "Point"}
        assert 49 < float(latitude) < 50
        assert -124 < float(longitude) < -122


def test_the_downloaders_copy_says_the_same_in_its_own_way(tmp_path: Path) -> None:
    portal = read(generate("business_licences", tmp_path / "p.csv", 2_000, 3).path, ";")
    copy = generate("business_licences", tmp_path / "d.csv", 2_000, 3, form="download").path
    rows = read(copy, ",")

    assert not copy.read_bytes().startswith(b"\xef\xbb\xbf")
    assert list(rows[0]) == [header.lower() for header in LICENCE_HEADERS]
    assert len(rows) == len(portal)
    for ours, theirs in zip(rows, portal, strict=True):
        for same in ("LicenceRSN", "BusinessName", "Status", "ExpiredDate", "NumberofEmployees", "PostalCode"):
            assert ours[same.lower()] == theirs[same]
        if ours["issueddate"]:
            assert ours["issueddate"].endswith("+00:00")
            assert datetime.fromisoformat(ours["issueddate"]) == datetime.fromisoformat(theirs["IssuedDate"])
        if ours["geom"]:
            point = ast.literal_eval(ours["geo_point_2d"])
            assert ast.literal_eval(ours["geom"])["geometry"]["coordinates"] == [point["lon"], point["lat"]]
            assert [point["lat"], point["lon"]] == [float(part) for part in theirs["geo_point_2d"].split(", ")]


def test_offsets_are_those_of_the_day(tmp_path: Path) -> None:
    rows = read(generate("business_licences", tmp_path / "l.csv", 5_000, 3).path, ";")
    times = [row[column] for row in rows for column in ("IssuedDate", "ExtractDate") if row[column]]

    assert {time[-6:] for time in times} == {"-07:00", "-08:00"}
    for time in times:
        instant = datetime.fromisoformat(time)
        assert instant.astimezone(VANCOUVER).isoformat() == time


def test_years_and_extraction_are_those_asked_for(tmp_path: Path) -> None:
    file = generate_licences(tmp_path / "l.csv", 2_000, 3, [2016, 2024], extracted=date(2025, 7, 1)).path
    rows = read(file, ";")

    assert {row["FOLDERYEAR"] for row in rows} == {"16", "24"}
    assert {row["ExtractDate"][:10] for row in rows} <= {"2025-07-01", "2025-07-04"}
    for row in rows:
        year = 2000 + int(row["FOLDERYEAR"])
        if row["IssuedDate"]:
            issued = datetime.fromisoformat(row["IssuedDate"]).date()
            assert date(year - 1, 11, 1) <= issued <= date(year, 12, 31)


def test_tickets_as_csv_and_as_json_lines_say_the_same(tmp_path: Path) -> None:
    table = read(generate("parking_tickets", tmp_path / "t.csv", 3_000, 5).path, ";")
    packed = generate("parking_tickets", tmp_path / "t.jsonl.gz", 3_000, 5).path
    lines = [json.loads(line) for line in gzip.decompress(packed.read_bytes()).decode().splitlines()]

    assert list(lines[0]) == list(table[0]) == list(TICKET_HEADERS)
    assert [{name: "" if value is None else str(value) for name, value in line.items()} for line in lines] == table
    assert {type(line[name]) for line in lines for name in ("Block", "Bylaw", "Year", "BI_ID")} == {int}
    assert all(str(line["Year"]) == line["EntryDate"][:4] for line in lines)


def test_the_form_of_2010_has_its_own_headers_dates_and_statuses(tmp_path: Path) -> None:
    rows = read(generate("parking_tickets", tmp_path / "t.csv", 3_000, 5, form="2010").path, ",")

    assert tuple(rows[0]) == HEADERS_2010
    assert {row["Status"] for row in rows} == {"I", "V", "W", "R"}
    assert {datetime.strptime(row["Date"], "%m/%d/%Y").year for row in rows} == {2010}  # noqa: DTZ007 - a day has no zone


def test_an_unknown_dataset_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(
        UnknownSample, match=r"business_licences, parking_tickets, .*; did you mean business_licences"
    ) as error:
        generate("busines_licenses", tmp_path / "x.csv", 1, 1)

    assert isinstance(error.value, PermanentError)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dataset", DATASETS)
def test_all_mistakes_of_a_request_are_told_at_once(dataset: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSampleRequest) as error:
        generate(dataset, tmp_path / "x.csv", -1, -2, [1984], form="scroll", threads=0)

    assert len(error.value.problems) == 5
    for named in ("rows is -1", "seed is -2", "threads is 0", "1984", "'scroll'", "portal"):
        assert named in str(error.value)
    with pytest.raises(InvalidSampleRequest, match="years is empty"):
        generate(dataset, tmp_path / "x.csv", 1, 1, [])
    assert list(tmp_path.iterdir()) == []


def test_the_generators_start_without_pandas_and_without_dagster(tmp_path: Path) -> None:
    # pyarrow imports pandas behind one's back when it makes an array from a list: a second for every small sample.
    script = (
        "import sys; from pathlib import Path; from city_platform.samples import generate;"
        "generate('business_licences', Path(sys.argv[1]), 10, 1);"
        "sys.exit(sorted({'pandas', 'dagster', 'duckdb'} & set(sys.modules)) != [])"
    )
    out = tmp_path / "l.csv"
    assert subprocess.run([sys.executable, "-c", script, str(out)], cwd=ROOT, check=False).returncode == 0
