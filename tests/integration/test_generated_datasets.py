"""Datasets and eras of which no file is at hand: generated rows through all layers, none lost, planted dirt counted.

What is planted is counted in the file itself, so a layer that loses, repeats or invents a row shows.
"""

import csv
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest

from city_platform.datasets import Dataset, load_dataset
from city_platform.layers import cleaned, freshness, landing, raw
from city_platform.layers.platform import Platform
from city_platform.local.platform import local_platform
from city_platform.samples import generate
from city_platform.samples.contact_centre import TYPE_LENGTH
from city_platform.samples.tables import VANCOUVER
from tests.town import ROOT, StandingClock

Row = Mapping[str, str]
Test = Callable[[Row], bool]
ROWS = 3_000


def never(_: Row) -> bool:
    return False


def number(text: str) -> float | None:
    """The number that a cell holds, None where it holds a word or nothing."""
    try:
        return float(text.strip().removeprefix("$").replace(",", ""))
    except ValueError:
        return None


def words(*columns: str) -> Callable[[Row], int]:
    """How many of the row's cells hold a word where a number belongs."""
    return lambda row: sum(row[one] != "" and number(row[one]) is None for one in columns)


def outside(text: str, low: float, high: float) -> bool:
    found = number(text)
    return found is not None and not low <= found <= high


@dataclass(frozen=True)
class Expected:
    """A sample and what has to become of its rows; the tests say it of a row as it stands in the file."""

    years: Sequence[int]
    fails: Test  # a rule moves the row to failed
    plants: Mapping[str, Test]  # dirt that has to be there, and is told in no count
    facts: Mapping[str, str] = field(default_factory=dict)  # SQL over the cleaned `rows` that has to be true
    form: str = "portal"
    unplaced: Test = never  # no year
    untyped: Callable[[Row], int] = lambda _: 0  # cells that are not of their column's type
    key: tuple[str, ...] = ()  # of several rows of one key one counts; those without a whole key all do


def bad_water(row: Row) -> bool:
    return (
        not row["Operating Permit Number"]
        or outside(row["Temperature"], -1, 100)
        or outside(row["Turbidity"], 0, float("inf"))
    )


LICENCE_STATUSES = {"Issued", "Inactive", "Gone Out of Business", "Pending", "Cancelled"}


def bad_licence(row: Row) -> bool:
    return (
        row["Status"].strip() not in LICENCE_STATUSES
        or outside(row["FeePaid"], 0, float("inf"))
        or outside(row["NumberofEmployees"], 0, 50_000)
        or (row["ExpiredDate"] != "" and row["IssuedDate"] > row["ExpiredDate"].replace("209-", "2009-"))
    )


SAMPLES: Mapping[str, Expected] = {
    "operating_permits": Expected(
        years=[2025],
        fails=bad_water,
        plants={
            "padded": lambda row: row["Mechanical System Type"] != row["Mechanical System Type"].strip(),
            "two lines": lambda row: "\r\n" in row["Address"],
            "hyphen": lambda row: row["Geo Local Area"] == "Arbutus-Ridge",
            "words of the laboratory": lambda row: row["Legionella"].startswith("<"),
        },
        facts={
            "one line": "count(*) FILTER (WHERE regexp_matches(Address, '[\\r\\n]')) = 0",
            "the area has one name": "count(*) FILTER (WHERE LocalArea = 'Arbutus-Ridge') = 0",
            "nothing stands padded": "count(*) FILTER (WHERE MechanicalSystemType <> trim(MechanicalSystemType)) = 0",
            "bounds stay words": "count(*) FILTER (WHERE Legionella = '<10') > 0",
        },
        untyped=words("Temperature", "Turbidity"),
        key=("Operating Permit Number",),
    ),
    "water_quality_reports": Expected(
        years=[2024, 2025],
        fails=bad_water,
        plants={"padded": lambda row: row["Mechanical System Type"].endswith("  ")},
        facts={"samples of a day stay apart": "count(*) > count(DISTINCT (OperatingPermitNumber, SystemReportDate))"},
        unplaced=lambda row: not row["System Report Date"],
        untyped=words("Temperature", "Turbidity"),
    ),
    "inquiry_volume_311": Expected(
        years=[2021, 2022],
        fails=lambda row: not row["Type"] or number(row["Number of Records"]) in {0, None},
        plants={
            "padded": lambda row: row["Type"] != row["Type"].strip(),
            "obsolete": lambda row: row["Type"].startswith("ZZ OLD"),
        },
        facts={"a month is a month": "bool_and(regexp_full_match(YearMonth, '202[12]-(0[1-9]|1[0-2])'))"},
        unplaced=lambda row: not row["Year Month"],
        untyped=words("Number of Records"),
        key=("Department", "Type", "Year Month", "Channel"),
    ),
    "employee_remuneration": Expected(
        years=[2012, 2023],
        fails=lambda row: (
            not row["Name"]
            or not row["Remuneration"]
            or outside(row["Remuneration"], 37_500, 2_000_000)
            or outside(row["Expenses"], 0, float("inf"))
        ),
        plants={
            "dollars": lambda row: row["Remuneration"].startswith("$"),
            "asterisk": lambda row: row["Name"].endswith(" *"),
            "padded": lambda row: row["Name"].startswith(" "),
        },
        facts={
            "an asterisk is no part of a name": "count(*) FILTER (WHERE regexp_matches(Name, '[*]|^ | $')) = 0",
            "amounts with commas are amounts": "count(*) FILTER (WHERE Remuneration > 75000) > 2500",
        },
        unplaced=lambda row: not row["Year"],
        untyped=words("Expenses"),
    ),
    "service_requests_311": Expected(
        years=range(2009, 2022),
        fails=lambda row: (
            not row["Service request type"]
            or (row["Status"] == "Open" and row["Service request close date"] != "")
            or (row["Status"] == "Close" and row["Service request close date"] < local_day(row))
        ),
        plants={
            "cut": lambda row: row["Service request type"][TYPE_LENGTH - 3 :] == " Ca",
            "obsolete": lambda row: row["Service request type"].startswith("ZZ OLD"),
            "hyphen": lambda row: row["Local area"] == "Arbutus-Ridge",
            "another day in UTC": lambda row: local_day(row) != row["Service request open timestamp"][:10],
        },
        facts={
            "a cut word is whole": """count(*) FILTER (WHERE ServiceRequestType LIKE '% Ca') = 0
                AND count(*) FILTER (WHERE ServiceRequestType LIKE 'Noise % Case') > 0""",
            "the area has one name": "count(*) FILTER (WHERE LocalArea = 'Arbutus-Ridge') = 0",
            "what the era lacks is missing": "count(ClosureReason) + count(Channel) + count(Geom) = 0",
        },
        unplaced=lambda row: not row["Service request open timestamp"],
    ),
    "business_licences": Expected(
        years=range(1997, 2013),
        form="1997",
        fails=bad_licence,
        plants={
            "negative fee": lambda row: row["FeePaid"] == "-123",
            "unknown number": lambda row: row["NumberofEmployees"] == "000",
        },
        facts={
            "of two centuries": "(min(FileYear), max(FileYear)) = (1997, 2012)",
            "issued at the start of the local day": """bool_and(
                IssuedDate IS NULL OR CAST(timezone('America/Vancouver', IssuedDate) AS TIME) = TIME '00:00:00')""",
            "no number of employees is missing, not 0": "count(*) FILTER (WHERE NumberOfEmployees IS NULL) > 0",
        },
        key=("LicenceRSN", "LicenceRevisionNumber"),
    ),
}  # fmt: skip


def local_day(row: Row) -> str:
    """The local day on which a request was opened."""
    opened = datetime.fromisoformat(row["Service request open timestamp"])
    return opened.astimezone(VANCOUVER).date().isoformat()


def dataset_of(name: str) -> Dataset:
    dataset, mistakes = load_dataset(ROOT / "datasets" / name)
    assert dataset is not None, mistakes
    return dataset


def sample(name: str, file: Path, form: str) -> Path:
    """The same rows in any form."""
    return generate(name, file, ROWS, 5, SAMPLES[name].years, form=form).path


@pytest.mark.parametrize("name", SAMPLES)
def test_every_row_arrives(name: str, tmp_path: Path) -> None:
    expected, dataset = SAMPLES[name], dataset_of(name)
    platform = local_platform(tmp_path / "home", StandingClock())
    file = sample(name, tmp_path / "rows_2025.csv", expected.form)
    with file.open(encoding="utf-8-sig", newline="") as text:
        rows = list(csv.DictReader(text, delimiter=";", strict=True))
    for what, planted in expected.plants.items():
        assert any(map(planted, rows)), what

    source = landing.land(platform, dataset, file).source
    placed = [row for row in rows if not expected.unplaced(row)]
    assert (source.rows, source.unreadable, source.unplaced) == (ROWS, 0, ROWS - len(placed))
    total = through_all_layers(platform, dataset)
    whole = [tuple(" ".join(row[one].split()) for one in expected.key) for row in placed]
    keys = Counter(key for key in whole if key and all(key))
    assert total["rows_in"] == len(placed) == total["rows"] + total["duplicates"]
    assert total["duplicates"] == keys.total() - len(keys)
    assert total["untyped_values"] == sum(expected.untyped(row) for row in placed)
    assert total["failed"] == len({id(row) for row in distinct(placed, expected.key) if expected.fails(row)}) > 0
    with platform.engine.session() as session:
        manifests = [platform.lake.require("cleaned", name, one) for one in freshness.partitions(platform, dataset)]
        session.view("rows", [path for one in manifests for path in platform.lake.paths(one, "rows")])
        for what, fact in expected.facts.items():
            assert session.rows(f"SELECT {fact} FROM rows") == [(True,)], what


def distinct(rows: Sequence[Row], key: Sequence[str]) -> Sequence[Row]:
    """One row of each whole key, and all without one."""
    kept: dict[object, Row] = {}
    for place, row in enumerate(rows):
        values = tuple(" ".join(row[one].split()) for one in key)
        kept[values if values and all(values) else place] = row
    return list(kept.values())


def through_all_layers(platform: Platform, dataset: Dataset) -> Counter[str]:
    """Materializes every partition and adds up what the cleaned layer counted, and the rows that failed."""
    total: Counter[str] = Counter()
    for year in freshness.partitions(platform, dataset):
        for layer in freshness.LAYERS:
            layer.materialize(platform, dataset, year)  # raises GateClosed where a rule halts
        cleaned, checked = (platform.lake.require(one, dataset.name, year) for one in ("cleaned", "quality_checked"))
        total.update(cleaned.counts)
        total["failed"] += checked.counts["failed"]
        assert checked.counts["rows"] + checked.counts["failed"] == cleaned.counts["rows"]
        assert platform.lake.require("encrypted", dataset.name, year).counts["rows"] == checked.counts["rows"]
        assert platform.lake.require("curated", dataset.name, year).counts["rows"] > 0
    return total


@pytest.mark.parametrize("name", [name for name, one in SAMPLES.items() if one.form == "portal"])
def test_the_form_of_a_generated_file_does_not_show_in_the_cleaned_rows(name: str, tmp_path: Path) -> None:
    dataset = dataset_of(name)
    found = []
    for form in ("portal", "download", "jsonl"):
        platform = local_platform(tmp_path / form, StandingClock())
        landing.land(platform, dataset, sample(name, tmp_path / f"{form}_2025.data", form))
        digests = {}
        for year in freshness.partitions(platform, dataset)[-2:]:
            raw.materialize(platform, dataset, year)
            manifest = cleaned.materialize(platform, dataset, year)
            digests[year] = ([one.sha256 for one in manifest.parts["rows"]], manifest.counts)
        found.append(digests)
    assert found[0]
    assert found[0] == found[1] == found[2]
