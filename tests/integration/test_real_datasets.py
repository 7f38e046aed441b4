"""The city's real files of every other dataset through all layers: no row lost, the known dirt counted, gates open."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from city_platform.contracts.model import Classification
from city_platform.datasets import Dataset, load_dataset
from city_platform.engines.duckdb import DuckDBSession
from city_platform.layers import freshness, landing
from city_platform.layers.platform import Platform
from city_platform.local.platform import local_platform
from tests.town import ROOT, StandingClock

pytestmark = pytest.mark.real_data

OUTSIDE = {"Stanley Park", "Musqueam"}  # the police's own areas
REGISTER = "animal-control/animal-control-inventory-register_2022-02.csv"
LOST_AND_FOUND = "animal-control/animal-control-inventory-lost-and-found.csv"

# Dataset, its file, the years it falls into, what becomes of its rows, and facts as SQL over the cleaned `rows`
# (`raw` holds the rows as text) that have to be true.
FILES: Sequence[tuple[str, str, int, Mapping[str, int], Mapping[str, str]]] = [
    (
        "service_requests_311",
        "3-1-1-service-requests/raw_311_2026-04-19.csv",
        1,
        {"rows": 5_000},
        {
            "an open case has no reason of closure": "count(*) FILTER (WHERE ClosureReason IS NULL) = 39",
            "N/A is no reason": "count(*) FILTER (WHERE ClosureReason = 'N/A') = 0",
            "obsolete types stay": "count(*) FILTER (WHERE starts_with(ServiceRequestType, 'ZZ OLD')) = 85",
            "none is longer than the source keeps": "max(length(ServiceRequestType)) = 50",
            "on the local calendar no case is closed before it is opened": """count(*) FILTER (WHERE
                timezone('America/Vancouver', ServiceRequestOpenTimestamp)::DATE > ServiceRequestCloseDate) = 0""",
            "on UTC's some are": """count(*) FILTER (WHERE
                timezone('UTC', ServiceRequestOpenTimestamp)::DATE > ServiceRequestCloseDate) = 126""",
            "places are withheld": "count(*) FILTER (WHERE Address IS NULL) > 0.68 * count(*)",
            "points are one GeoJSON": """count(*) FILTER (WHERE Geom LIKE '{"coordinates": [-12%') = count(Latitude)""",
        },
    ),
    (
        "contact_centre_metrics",
        "3-1-1-contact-centre-metrics/3-1-1-contact-centre-metrics_2024-10.csv",
        16,
        {"rows": 5_555},
        {
            "the day is the key": "count(DISTINCT Date) = 5555",
            "the parts are not the whole": """count(*) FILTER (WHERE
                CallsHandled + CallsAbandoned <> CallsOffered) = 5380""",
        },
    ),
    (
        "lost_and_found_pets",
        LOST_AND_FOUND,
        26,
        {"rows": 17_628 - 14, "removed": 14},
        {
            "a name of question marks is none": "count(*) FILTER (WHERE regexp_full_match(Name, '[?]+')) = 0",
            "names that are missing": "count(*) FILTER (WHERE Name IS NULL) = 1870",
            "breeds are free text": "count(DISTINCT Breed) > 3900",
        },
    ),
    (
        "animal_register",
        REGISTER,
        25,
        {"rows": 24_194, "untyped_values": 191},
        {
            "line breaks in cells become spaces": """count(*) FILTER (WHERE
                regexp_matches(concat_ws('|', Name, Color, ReceiptNumber), '[\\r\\n]')) = 0""",
            "weights with and without a unit": "count(WeightPounds) = 11601 - 191",
            "and what no scale shows": "count(*) FILTER (WHERE WeightPounds BETWEEN 2e-7 AND 3e-7) = 1",
            "vaccinated from 1930 to 2026": "(min(year(ShotsDate)), max(year(ShotsDate))) = (1930, 2026)",
        },
    ),
    (
        "building_permits",
        "issued-building-permits/2023_issued-building-permits.xlsx",
        1,
        {"rows": 4_662},
        {
            "descriptions are one line": "count(*) FILTER (WHERE contains(ProjectDescription, chr(10))) = 0",
            "and were several": "max((SELECT count(*) FROM raw WHERE contains(ProjectDescription, chr(10)))) = 4600",
            "nobody estimated these": "count(*) FILTER (WHERE ProjectValue = 0) = 700",
        },
    ),
    (
        "police_incidents",
        "vpd-crime/crimedata_csv_AllNeighbourhoods_2022.csv",
        1,
        {"rows": 34_325},
        {
            "equal rows are separate incidents": """count(*) > count(DISTINCT (IncidentType, IncidentMonth, IncidentDay,
                IncidentHour, IncidentMinute, HundredBlock, LocalArea, X, Y)) + 1800""",
            "withheld places are missing, not 0": "count(*) FILTER (WHERE X IS NULL AND Y IS NULL) = 3946 + 1",
            "the business district is downtown": "count(*) FILTER (WHERE LocalArea = 'Downtown') = 10647",
        },
    ),
    (
        "rental_standards",
        "rental-standards/rental-standards-current-issues_2019.csv",
        1,
        {"rows": 435},
        {"the area's name is the city's": "count(*) FILTER (WHERE LocalArea = 'Arbutus Ridge') = 3"},
    ),
    (
        "local_area_boundary",
        "local-area-boundary.csv",
        1,
        {"rows": 22},
        {"every area is a polygon": "count(*) FILTER (WHERE Geom LIKE '%Polygon%') = 22"},
    ),
]


@pytest.mark.parametrize(("name", "file", "years", "counts", "facts"), FILES, ids=[one[0] for one in FILES])
def test_every_row_arrives(
    name: str,
    file: str,
    years: int,
    counts: Mapping[str, int],
    facts: Mapping[str, str],
    real_data: Path,
    tmp_path: Path,
) -> None:
    platform = local_platform(tmp_path / "home", StandingClock())
    dataset, mistakes = load_dataset(ROOT / "datasets" / name)
    assert dataset is not None, mistakes
    source = landing.land(platform, dataset, real_data / "vancouver" / file).source
    assert (source.unreadable, source.unplaced) == (0, 0)
    partitions = freshness.partitions(platform, dataset)
    assert len(partitions) == years
    for year in partitions:
        for layer in freshness.LAYERS:
            layer.materialize(platform, dataset, year)  # raises GateClosed where a rule halts

    total: Counter[str] = Counter()
    for year in partitions:
        cleaned, checked = (platform.lake.require(one, name, year) for one in ("cleaned", "quality_checked"))
        total.update(cleaned.counts)
        assert checked.counts["rows"] + checked.counts["failed"] == cleaned.counts["rows"]
        assert platform.lake.require("encrypted", name, year).counts["rows"] == checked.counts["rows"]
        assert platform.lake.require("curated", name, year).counts["rows"] > 0
    assert total["rows_in"] == source.rows == total["rows"] + total["removed"] + total["duplicates"]
    expected = {"removed": 0, "duplicates": 0, "untyped_values": 0} | dict(counts)
    assert {key: total[key] for key in expected} == expected

    with platform.engine.session() as session:
        _rows_of(session, platform, dataset)
        for what, fact in facts.items():
            assert session.rows(f"SELECT {fact} FROM rows") == [(True,)], what
        if any(column.name == "LocalArea" for column in dataset.contract.columns):
            areas = {
                area for (area,) in session.rows("SELECT DISTINCT LocalArea FROM rows WHERE LocalArea IS NOT NULL")
            }
            assert areas <= _local_areas(real_data) | OUTSIDE
        _published_is_public(session, platform, dataset)


def _rows_of(session: DuckDBSession, platform: Platform, dataset: Dataset) -> None:
    """Makes all years readable: `rows` cleaned, `raw` as text."""
    for view, layer in (("rows", "cleaned"), ("raw", "raw")):
        manifests = [platform.lake.require(layer, dataset.name, one) for one in freshness.partitions(platform, dataset)]
        session.view(view, [path for manifest in manifests for path in platform.lake.paths(manifest, "rows")])


def _local_areas(real_data: Path) -> set[str]:
    with (real_data / "vancouver" / "local-area-boundary.csv").open(encoding="utf-8-sig", newline="") as file:
        csv.field_size_limit(1 << 20)
        return {row["Name"] for row in csv.DictReader(file, delimiter=";")}


def _published_is_public(session: DuckDBSession, platform: Platform, dataset: Dataset) -> None:
    """No summary holds a text of five letters or more that only a personal or internal column has."""
    manifests = [platform.lake.require("curated", dataset.name, one) for one in freshness.partitions(platform, dataset)]
    published: set[str] = set()
    for manifest in manifests:
        for path in platform.lake.paths(manifest, "csv"):
            with path.open(encoding="utf-8", newline="") as file:
                published.update(cell for row in csv.reader(file) for cell in row)
    texts: dict[bool, set[str]] = {True: set(), False: set()}
    for column in (one for one in dataset.contract.columns if one.sql_type == "VARCHAR"):
        name = session.dialect.name(column.name)
        values = session.rows(f"SELECT DISTINCT {name} FROM rows WHERE regexp_matches({name}, '[A-Za-z]{{5}}')")
        texts[column.classification is Classification.PUBLIC].update(value for (value,) in values)
    assert not (texts[False] - texts[True]) & published, dataset.name
