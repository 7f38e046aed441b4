"""The same rows, however their file is written: by header case, delimiter, mark, line ends, column order and era.

What comes out of cleaning is compared byte for byte.
"""

import csv
import gzip
import io
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from city_platform.datasets import Dataset, load_dataset
from city_platform.lake.manifest import Manifest
from city_platform.layers import cleaned, landing, raw
from city_platform.layers.platform import Platform
from city_platform.local.platform import local_platform
from tests.town import ROOT, StandingClock

Rows = Sequence[Mapping[str, str | None]]


def rows(*records: tuple[str | None, ...], headers: str) -> Rows:
    return [dict(zip(headers.split("|"), record, strict=True)) for record in records]


# A few rows of a year as their source writes them, with what makes them hard to read.
SOURCES: Mapping[str, tuple[str, Rows]] = {
    "police_incidents": (
        "2013",
        rows(
            ("Mischief", "2013", "1", "3", "16", "19", "10XX ALBERNI ST", "Central Business District",
             "491036.07", "5459145.9"),
            ("Offence Against a Person", "2013", "2", "4", "0", "0", "OFFSET TO PROTECT PRIVACY", None, "0.0", "0.0"),
            ("Offence Against a Person", "2013", "2", "4", "0", "0", "OFFSET TO PROTECT PRIVACY", None, "0.0", "0.0"),
            headers="TYPE|YEAR|MONTH|DAY|HOUR|MINUTE|HUNDRED_BLOCK|NEIGHBOURHOOD|X|Y",
        ),
    ),
    "animal_register": (
        "2013",
        rows(
            ("1", "Highland\r\nTerrier", "1930-05-08", "m/n", "2013-04-25", "60lbs", "Brown; white", "Redeemed", "26"),
            ("2", 'Lab "mix"', None, "F", "2013-04-26", "light", "Black, tan", "Released ( Wildlife)", "A | B"),
            ("3", "Cat", None, "X", "2013-05-01", ".00000025", "\tgrey  blue ", None, None),
            headers="AnimalID|Breed|ShotsDate|Sex|DateImpounded|ApproxWeight|Color|Status|ACO",
        ),
    ),
    "lost_and_found_pets": (
        "2024",
        rows(
            ("Corgi", "Brown", "2024-01-13", "?", "F/S", "Lost"),
            ("Corgi", "Brown", "2024-01-13", "?", "F/S", "Lost"),
            ("Shiba Inu", "Black w/white & tan", "2024-01-12", "Bo", "f", "Matched"),
            headers="Breed|Color|Date|Name|Sex|State",
        ),
    ),
    "rental_standards": (
        "2019",
        rows(
            ("Some Homes; Ltd", "https://example.org/?num=1", "320", "ABBOTT  STREET", "3", "60",
             '{"type": "Point"}', "Arbutus-Ridge"),
            ("Other, Homes", "https://example.org/?num=2", "404", "ABBOTT STREET", "1", "71", None, "Downtown"),
            headers="BUSINESSOPERATOR|DetailURL|StreetNumber|Street|TOTALOUTSTANDING|TotalUnits|Geom|Geo Local Area",
        ),
    ),
    "operating_permits": (
        "2019",
        rows(
            ("OP-1", " Cooling Tower ", "Active", "1 ELM;\r\nU 3", "2020-05-01", "24.5", "0.4", "<10", "Arbutus-Ridge"),
            ("OP-2", "Rainwater System", "Shut, Down", None, None, "warm", "-0.5", '"ND"', None),
            headers="Operating Permit Number|Mechanical System Type|Current System Status|Address|Permit Renewal Date"
            "|Temperature|Turbidity|Legionella|Geo Local Area",
        ),
    ),
    "water_quality_reports": (
        "2021",
        rows(
            ("OP-1", "2021-12-31", "Cooling Tower", "24.5", "0.4", "<10", "Not detected"),
            ("OP-1", "2021-12-31", "Cooling Tower", "24.5", "0.4", "<10", "Not detected"),
            (None, "2021-01-01", "Fountain; indoors", None, "n/a", "1,200", None),
            headers="Operating Permit Number|System Report Date|Mechanical System Type|Temperature|Turbidity|Legionella"
            "|E. coli",
        ),
    ),
    "inquiry_volume_311": (
        "2021",
        rows(
            ("ENG - Sanitation Services", "Missed Bin", "2021-12", "Phone", "17", "5"),
            ("ENG - Sanitation Services", " Missed  Bin", "2021-12", "Phone", "17", "6"),
            ("ZZ OLD - Tax; Water", None, "2021-01", "E-mail", "few", None),
            headers="Department|Type|Year Month|Channel|Number of Records|BI_ID",
        ),
    ),
    "employee_remuneration": (
        "2012",
        rows(
            ("2012", "Novak, Aiko *", "Library", "Head; Branch", "$101,234.50", "-"),
            ("2012", 'Silva, "Jo"', None, "Captain", "99000.1", None),
            headers="Year|Name|Department|Title|Remuneration|Expenses",
        ),
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Form:
    """One way to write a table."""

    delimiter: str = ";"
    newline: str = "\r\n"
    mark: bool = False
    header: str = "as it is"
    order: int = 0  # seed of the columns' order, 0 for the rows' own
    json_lines: bool = False
    packed: bool = False

    def write(self, path: Path, table: Rows) -> Path:
        names = list(table[0])
        if self.order:
            random.Random(self.order).shuffle(names)  # noqa: S311 - repeatable, not secret
        headers = {"as it is": names, "upper": [n.upper() for n in names], "lower": [n.lower() for n in names]}[
            self.header
        ]
        if self.json_lines:
            lines = [{header: row[name] for header, name in zip(headers, names, strict=True)} for row in table]
            data = "".join(json.dumps(line) + "\n" for line in lines).encode()
        else:
            text = io.StringIO(newline="")
            writer = csv.writer(text, delimiter=self.delimiter, lineterminator=self.newline)
            writer.writerow(headers)
            writer.writerows([row[name] for name in names] for row in table)
            data = text.getvalue().encode("utf-8-sig" if self.mark else "utf-8")
        path.write_bytes(gzip.compress(data, mtime=0) if self.packed else data)
        return path


forms = st.builds(
    Form,
    delimiter=st.sampled_from(";,\t|"),
    newline=st.sampled_from(["\r\n", "\n", "\r"]),
    mark=st.booleans(),
    header=st.sampled_from(["as it is", "upper", "lower"]),
    order=st.integers(0, 5),
    json_lines=st.booleans(),
    packed=st.booleans(),
)


@cache
def dataset_of(name: str) -> Dataset:
    dataset, mistakes = load_dataset(ROOT / "datasets" / name)
    assert dataset is not None, mistakes
    return dataset


def clean(platform: Platform, dataset: Dataset, file: Path, year: str) -> Manifest:
    """Lands the file in the place of the one before, and cleans its one year."""
    landed = landing.land(platform, dataset, file)
    assert landed.source.unreadable == landed.source.unplaced == 0
    assert list(landed.source.rows_by_partition) == [year]
    raw.materialize(platform, dataset, year)
    return cleaned.materialize(platform, dataset, year)


def written(name: str, form: Form, factory: pytest.TempPathFactory) -> tuple[list[str], Mapping[str, int]]:
    """The digests of the cleaned rows and their counts, from a file of that form."""
    dataset, (year, table) = dataset_of(name), SOURCES[name]
    table = [{column.source_name: None for column in dataset.contract.columns} | dict(row) for row in table]
    folder = factory.mktemp(name)
    platform = local_platform(folder / "home", StandingClock())
    manifest = clean(platform, dataset, form.write(folder / "rows_2019.data", table), year)
    return [file.sha256 for file in manifest.parts["rows"]], manifest.counts


@pytest.fixture(scope="module", params=SOURCES)
def usual(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, tuple[list[str], Mapping[str, int]]]:
    """A dataset, and what comes of the file that its source would write."""
    return request.param, written(request.param, Form(), tmp_path_factory)


@settings(max_examples=8)
@given(form=forms)
def test_the_form_of_a_file_does_not_show_in_the_cleaned_rows(
    usual: tuple[str, tuple[list[str], Mapping[str, int]]], form: Form, tmp_path_factory: pytest.TempPathFactory
) -> None:
    name, expected = usual
    assert written(name, form, tmp_path_factory) == expected


REQUEST = ("DBL - Animal Services", "Animal Concern Case", "Close", "N/A")
# The same requests and tickets as two eras of the source write them.
ERAS: Mapping[str, tuple[str, Rows, Rows, set[str]]] = {
    "service_requests_311": (
        "2022",
        rows(
            (*REQUEST, "2023-01-01T07:30:00+00:00", "2022-12-31", "2023-01-02T08:00:00+00:00",
             "Arbutus-Ridge", '{"coordinates": [-123.1, 49.2], "type": "Point"}'),
            headers="Department|Service request type|Status|Closure reason|Service request open timestamp"
            "|Service request close date|Last modified timestamp|Local area|Geom",
        ),
        rows(
            (*REQUEST, "2022-12-31T23:30:00-08:00", "2022-12-31", "2023-01-02T00:00:00-08:00",
             "Arbutus Ridge", "{'lon': -123.1, 'lat': 49.2}"),
            headers="department|service_request_type|status|closure_reason|service_request_open_timestamp"
            "|service_request_close_date|last_modified_timestamp|local_area|geom",
        ),
        set(),
    ),
    "parking_tickets": (
        "2010",
        rows(
            ("1200", "W BROADWAY", "2010-03-31", "2849", "17.6(B)", "IS", "PARK IN A LANE", "2010", "7"),
            headers="Block|Street|EntryDate|Bylaw|Section|Status|InfractionText|Year|BI_ID",
        ),
        rows(
            ("1200", "W BROADWAY", "3/31/2010", "2849", "17.6(B)", "I", "PARK IN A LANE."),
            headers="Hundred_Block|Street|Date|Bylaw|Section|Status|Description",
        ),
        {"Year", "BI_ID"},  # which the older form does not have
    ),
    "business_licences": (
        "2016",
        rows(
            ("16", "1", "16-100001", "00", "Issued", "2016-01-04T17:00:00+00:00", "2016-12-31", "Office",
             "CA", "Downtown", "43.0", "136.00", "2016-06-01T07:00:00+00:00"),
            headers="FOLDERYEAR|LicenceRSN|LicenceNumber|LicenceRevisionNumber|Status|IssuedDate|ExpiredDate"
            "|BusinessType|Country|LocalArea|NumberofEmployees|FeePaid|ExtractDate",
        ),
        rows(
            ("16", "1", "16-100001", "00", "Issued", "2016-01-04 09:00:00", "2016-12-31", "Office",
             "CAN", "02-Central Business/Downtown", "043", "136", "2016-06-01"),
            headers="FOLDERYEAR|LicenceRSN|LicenceNumber|LicenceRevisionNumber|Status|IssuedDate|ExpiredDate"
            "|BusinessType|Country|LocalArea|NumberOfEmployees|FeePaid|ExtractDate",
        ),
        set(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ERAS)
def test_the_era_of_a_file_does_not_show_in_the_cleaned_rows(name: str, tmp_path: Path) -> None:
    year, current, older, lacking = ERAS[name]
    platform, dataset = local_platform(tmp_path / "home", StandingClock()), dataset_of(name)
    found = []
    for number, era in enumerate((current, older)):
        given_names = {header.casefold() for header in era[0]}
        rest = [
            column.source_name
            for column in dataset.contract.columns
            if column.required_in_source
            and not given_names & {one.casefold() for one in (column.source_name, *column.aliases)}
        ]
        table = [dict.fromkeys(rest) | dict(row) for row in era]
        file = Form(mark=not number, header="as it is").write(tmp_path / "rows.csv", table)
        manifest = clean(platform, dataset, file, year)
        read = pq.read_table(platform.lake.paths(manifest, "rows")[0]).drop_columns(list(lacking))
        found.append(read)
        assert manifest.counts["untyped_values"] == 0
    assert found[0].equals(found[1]), found


def test_rows_stay_in_their_order_where_a_step_looks_at_other_rows(platform: Platform, tmp_path: Path) -> None:
    dataset = dataset_of("lost_and_found_pets")
    assert any(step.operation.name == "DELETE_DUPLICATE_ROWS" for step in dataset.recipe.steps)
    lines = [f"Breed {number % 977};Black;2019-05-{number % 28 + 1:02};;M;Lost" for number in range(20_000)]
    file = tmp_path / "pets.csv"
    file.write_text("\n".join(["Breed;Color;Date;Name;Sex;State", *lines]) + "\n", "utf-8")
    manifest = clean(platform, dataset, file, "2019")
    (rows,) = platform.lake.paths(manifest, "rows")
    places = pq.read_table(rows, columns=["_row"])["_row"].to_numpy()
    assert len(places) > 10_000
    assert (places[1:] > places[:-1]).all()
