"""Open data from the store to the download: what is in the files, what must never be, and how they are served."""

import csv
import hashlib
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

from city_platform.api.composition import open_api
from city_platform.datasets import Dataset
from city_platform.deployment import open_platform
from city_platform.deployment.incidents import open_incident_repository, open_incident_service
from city_platform.incidents.model import Resolution, Status, Visibility
from city_platform.incidents.repository import IncidentRepository
from city_platform.incidents.service import IncidentService
from city_platform.lake.lake import Lake, StagedFile
from city_platform.layers import curated, freshness, landing, open_incidents, quality_checked
from tests.incidents import CITIZEN, NOW, change, incident, report
from tests.patience import until
from tests.town import StandingClock, bad_trees, good_trees, trees_csv

FORMATS = ("csv", "geojson", "parquet")
BULK = [  # wiki.open311.org/GeoReport/bulk
    "service_request_id", "requested_datetime", "updated_datetime", "closed_date", "status_description", "status_notes",
    "source", "service_name", "service_subtype", "description", "agency_responsible", "address", "lat", "long",
]  # fmt: skip
EMAIL = re.compile(r"[^\s@]+@[^\s@]+\.[a-z]")
PHONE = re.compile(r"\d{3}[ .-]\d{3}[ .-]\d{4}")
AMONG = 5  # how many places at least a sensitive report may come from
YEAR = timedelta(days=365) / timedelta(minutes=1)


class Office:
    """A store of incidents, the lake they are published in, and the API over both."""

    def __init__(self, home: Path, datasets: tuple[Dataset, ...] = ()) -> None:
        self.clock = StandingClock(NOW + timedelta(days=1))
        platform = open_platform(home, {}, self.clock)
        self.lake: Lake = platform.lake
        self.repository: IncidentRepository = open_incident_repository(home, self.clock, {})
        self.service: IncidentService = open_incident_service(platform, self.repository, {})
        app = open_api(
            home,
            {"CITY_PLATFORM_PUBLIC_URL": "https://data.city.example", "CITY_PLATFORM_CONTACT": "data@city.internal"},
            rate_limit=0,
            clock=self.clock,
            datasets=datasets,
        )
        self.client = TestClient(app)

    def publish(self) -> Mapping[str, Any]:
        return {one.partition: one for one in open_incidents.publish(self.lake, self.service)}

    def download(self, year: int, shown_as: str) -> bytes:
        answer = self.client.get(f"/open-data/incidents/{year}.{shown_as}")
        assert answer.status_code == 200
        return answer.content

    def rows(self, year: int, shown_as: str) -> list[dict[str, Any]]:
        """The published rows, each value as its column's type, so that the formats can be compared."""
        content = self.download(year, shown_as)
        if shown_as == "parquet":
            table = pq.read_table(io.BytesIO(content))
            texts = [pa.string() if pa.types.is_timestamp(one.type) else one.type for one in table.schema]
            plain = table.cast(pa.schema(list(zip(table.schema.names, texts, strict=True))))
            return [_typed(one) for one in plain.to_pylist()]
        if shown_as == "csv":
            found: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(content.decode("utf-8"), newline="")))
        else:
            found = [one["properties"] for one in json.loads(content)["features"]]
        return [_typed(one) for one in found]


def _typed(row: Mapping[str, Any]) -> dict[str, Any]:
    readers = {"lat": float, "long": float, "supporters": int}
    times = {"requested_datetime", "updated_datetime", "closed_date", "expected_datetime"}
    typed: dict[str, Any] = {}
    for name, value in row.items():
        if value in (None, ""):
            typed[name] = None
        elif name in times:
            typed[name] = datetime.fromisoformat(value)
        else:
            typed[name] = readers.get(name, str)(value)
    return typed


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path / "home")


def test_the_three_formats_hold_the_same_rows(office: Office) -> None:
    office.repository.write(
        [
            change(
                incident(
                    1,
                    description='Two lines,\n"quoted"; 雨',
                    address="453 W 12th Ave",
                    expected_at=incident(60).reported_at,
                )
            ),
            change(incident(2, status=Status.RESOLVED, resolution=Resolution.FIXED, closed_at=incident(9).reported_at)),
            change(incident(3, lat=None, long=None, address="Somewhere", supporters=7)),
            change(incident(-YEAR, category="given_up")),
        ]
    )
    years = office.publish()
    assert {year: one.counts["rows"] for year, one in years.items()} == {"2025": 1, "2026": 3}
    table = office.download(2026, "csv").decode()
    assert table.partition("\r\n")[0].split(",")[: len(BULK)] == BULK
    parquet, *others = (office.rows(2026, one) for one in reversed(FORMATS))
    assert [one["supporters"] for one in parquet] == [7, 0, 0]
    assert parquet[1]["closed_date"] == incident(9).reported_at
    assert parquet[1]["status_notes"] == "Resolved: fixed"
    assert others == [parquet, parquet]
    places = [one["geometry"] for one in json.loads(office.download(2026, "geojson"))["features"]]
    assert places[:2] == [None, {"type": "Point", "coordinates": [-123.0985, 49.2633]}]


def test_nothing_personal_is_published(office: Office) -> None:
    secrets = ["jo@post.example", "604 555 0100", "Jo Canary", "V5Y 1V4"]
    contact = {"email": secrets[0], "phone": secrets[1], "name": secrets[2]}
    text = f"call {secrets[1]} or {secrets[0]}"
    for category in ("road_damage", "noise"):
        office.service.report(
            report(
                category=category, contact=contact, postal_code=secrets[3], description=text, address=f"12 Elm, {text}"
            ),
            CITIZEN,
        )
    for visibility in (Visibility.PRIVATE, Visibility.HIDDEN):
        office.repository.write([change(incident(visibility=visibility, title=f"{visibility} canary"))])
    office.repository.write(
        [change(incident(assigned_to="officer-canary", category="building", description="sensitive canary"))]
    )
    (year,) = office.publish().values()
    assert year.counts["rows"] == 3
    catalogs = [office.client.get(f"/open-data/{name}").text for name in ("data.json", "catalog.jsonld")]
    for shown_as in FORMATS:
        rows = office.rows(2026, shown_as)
        published = json.dumps(rows, default=str, ensure_ascii=False)
        assert "▇▇▇" in published
        for text in (published, *catalogs):
            assert not [one for one in (*secrets, "canary", "citizen-1") if one in text]
        assert not EMAIL.search(published)
        assert not PHONE.search(published)
    raw = b"".join(office.download(2026, one) for one in FORMATS)
    assert not [one for one in secrets if one.encode() in raw]


def test_a_sensitive_report_hides_among_others(office: Office) -> None:
    """Rows alike in all that tells of a place are k-anonymous: here from at least five places each."""
    centres = [(49.2601 + cell / 500, -123.0901 - cell / 500) for cell in range(4)]
    home = {}
    for number in range(40):
        lat, long = centres[number % 4]
        spread = number // 4 / 100_000  # ten houses, a metre or so apart
        one = incident(
            number, category="noise", lat=round(lat + spread, 7), long=round(long - spread, 7), address=f"{number} Elm"
        )
        home[one.incident_id] = (one.lat, one.long)
        office.repository.write([change(one)])
    office.publish()
    alike = defaultdict(set)
    for row in office.rows(2026, "csv"):
        place = (row["lat"], row["long"], row["region"], row["district"], row["address"], row["description"])
        alike[place].add(home[row["service_request_id"]])
    assert sum(map(len, alike.values())) == 40
    assert min(map(len, alike.values())) >= AMONG


def test_what_was_hidden_since_is_gone_and_what_stays_is_not_written_again(office: Office) -> None:
    shown = incident(0)
    office.repository.write([change(shown)])
    first = office.publish()
    office.clock.time += timedelta(hours=1)
    assert office.publish() == first
    hidden = replace(shown, version=2, visibility=Visibility.HIDDEN)
    office.repository.write([change(hidden, shown)])
    assert office.publish()["2026"].counts["rows"] == 0
    for shown_as in FORMATS:
        assert office.rows(2026, shown_as) == []


def test_a_formula_is_text_in_a_spreadsheet(office: Office) -> None:
    office.repository.write([change(incident(description="=HYPERLINK(1)", title="+1 more"))])
    office.publish()
    assert b"'=HYPERLINK(1)" in office.download(2026, "csv")
    (row,) = office.rows(2026, "parquet")
    assert (row["description"], row["title"]) == ("=HYPERLINK(1)", "+1 more")


def test_downloads_are_cached_resumed_and_licensed(office: Office) -> None:
    office.repository.write([change(incident())])
    office.publish()
    address = "/open-data/incidents/2026.csv"
    whole = office.client.get(address)
    assert whole.headers["content-type"] == "text/csv; charset=utf-8"
    assert 'rel="license"' in whole.headers["link"]
    assert whole.headers["access-control-allow-origin"] == "*"
    assert whole.headers["etag"] == f'"{hashlib.sha256(whole.content).hexdigest()}"'
    assert office.client.head(address).headers["content-length"] == str(len(whole.content))
    for headers, status in (
        ({"If-None-Match": f'"other", W/{whole.headers["etag"]}'}, 304),
        ({"If-None-Match": '"other"', "If-Modified-Since": whole.headers["last-modified"]}, 200),
        ({"If-Modified-Since": whole.headers["last-modified"]}, 304),
        ({"If-Modified-Since": "Tue, 10 Mar 2026 16:29:59 GMT"}, 200),
        ({"If-Modified-Since": "yesterday"}, 200),
        ({"If-Modified-Since": f"Tue, 10 Mar 2026 16:29:59 +{'9' * 20}"}, 200),
    ):
        answer = office.client.get(address, headers=headers)
        assert (answer.status_code, answer.headers["etag"]) == (status, whole.headers["etag"])
    part = office.client.get(address, headers={"Range": "bytes=10-", "If-Range": whole.headers["etag"]})
    assert (part.status_code, part.content) == (206, whole.content[10:])
    for absent in ("incidents/2025.csv", "incidents/..%2f2026.csv", "moon/2026.csv", "incidents/2026.exe", "incidents"):
        assert office.client.get(f"/open-data/{absent}").status_code == 404


def test_where_nothing_is_published_the_page_says_so(office: Office) -> None:
    assert "Nothing is published yet." in office.client.get("/open-data").text


def test_people_find_every_file_on_a_page(office: Office) -> None:
    for year in (0, 1):
        office.repository.write([change(incident(-year * YEAR))])
    office.publish()
    shown = office.client.get("/open-data").text
    links = re.findall(r'<a href="(/open-data/incidents/[^"]+)">(CSV|GeoJSON|Parquet), [\d,.]+ KB</a>', shown)
    assert len(links) == 6
    for address, _ in links:
        assert office.client.get(address).status_code == 200


def test_catalogs_hold_what_their_standards_demand(tmp_path: Path, trees: Dataset) -> None:
    tagged = replace(trees, contract=replace(trees.contract, tags=("open-data", "trees")))
    untagged = replace(trees, name="inside", contract=replace(trees.contract, tags=("trees",)))
    office = Office(tmp_path / "home", (tagged, untagged))
    office.repository.write([change(incident())])
    office.publish()
    for dataset in (tagged, untagged):
        _publish_summary(office.lake, dataset, tmp_path)
    catalog = office.client.get("/open-data/data.json")
    assert catalog.headers["content-type"] == "application/json"
    body = catalog.json()
    assert body["conformsTo"]["identifier"] == "https://resources.data.gov/dcat-us/3.0.0"
    assert [one["identifier"].rpartition("/")[2] for one in body["dataset"]] == ["incidents", "trees"]
    for dataset in body["dataset"]:
        # Mandatory in DCAT-US 3: title, description, identifier, publisher.name, contactPoint with fn and hasEmail.
        assert all(isinstance(dataset[name], str) and dataset[name] for name in ("title", "description", "identifier"))
        assert dataset["publisher"]["name"]
        assert dataset["contactPoint"]["fn"]
        assert dataset["contactPoint"]["hasEmail"] == "mailto:data@city.internal"
        assert dataset["accrualPeriodicity"] in {"daily", "weekly", "monthly", "quarterly", "annual", "notPlanned"}
        for one in dataset["distribution"]:
            address = one["downloadURL"].removeprefix("https://data.city.example")
            content = office.client.get(address).content
            assert one["byteSize"] == str(len(content))
            assert one["checksum"]["checksumValue"] == hashlib.sha256(content).hexdigest()
            assert one["license"].startswith("https://")
            assert one["mediaType"] in {"text/csv", "application/geo+json", "application/vnd.apache.parquet"}
    linked = office.client.get("/open-data/catalog.jsonld")
    assert linked.headers["content-type"] == "application/ld+json"
    graph = linked.json()
    assert [len(one["dcat:distribution"]) for one in graph["dcat:dataset"]] == [3, 2]
    for mandatory in ("dct:title", "dct:description", "dct:publisher", "dcat:dataset"):
        assert graph[mandatory]
    used = {key.partition(":")[0] for key in _keys(graph) if not key.startswith("@")}
    assert used <= set(graph["@context"])
    for dataset in graph["dcat:dataset"]:
        assert dataset["dct:title"]
        assert dataset["dct:description"]
        assert all(one["dcat:accessURL"]["@id"].startswith("https://") for one in dataset["dcat:distribution"])
    etag = catalog.headers["etag"]
    assert office.client.get("/open-data/data.json", headers={"If-None-Match": etag}).status_code == 304


def test_a_download_says_where_it_comes_from(tmp_path: Path, trees: Dataset) -> None:
    tagged = replace(trees, contract=replace(trees.contract, tags=("open-data",)))
    home = tmp_path / "home"
    office = Office(home, (tagged,))
    platform = open_platform(home, {}, office.clock)
    file = trees_csv(tmp_path / "kim-smith.csv", [*good_trees(2024, 12), *bad_trees(2024, 2)[1:]])
    origin = landing.Origin("https://kim:secret@portal.example/exports/csv?token=hidden", office.clock.now())
    source = landing.land(platform, tagged, file, origin=origin).source
    for layer in freshness.LAYERS:
        layer.materialize(platform, tagged, "2024")
    download = office.client.get("/open-data/trees/2024.csv")
    links = dict(re.findall(r'<([^>]+)>; rel="([^"]+)"', download.headers["link"]))
    (address,) = [one for one, kind in links.items() if kind == "http://www.w3.org/ns/prov#has_provenance"]
    assert address == "https://data.city.example/open-data/trees/2024/provenance.jsonld"
    answer = office.client.get(address.removeprefix("https://data.city.example"))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/ld+json")
    nodes = {one["@id"]: one for one in answer.json()["@graph"]}
    made = nodes["https://data.city.example/open-data/trees/2024.csv"]
    assert _digest(made) == hashlib.sha256(download.content).hexdigest()
    assert made["owl:versionInfo"] == platform.lake.require("curated", "trees", "2024").version
    publishing = nodes[made["prov:wasGeneratedBy"]["@id"]]
    assert _digest(nodes[publishing["prov:qualifiedAssociation"]["prov:hadPlan"]["@id"]]) == trees.curated_hash
    rows = nodes[made["prov:wasDerivedFrom"]["@id"]]
    (first,) = [nodes[one["@id"]] for one in rows["prov:wasDerivedFrom"]]
    assert (_digest(first), first["prov:hadPrimarySource"]["@id"]) == (
        source.sha256,
        "https://portal.example/exports/csv",
    )
    held = [one["dqv:value"]["@value"] for one in rows["dqv:hasQualityMeasurement"] if "dqv:value" in one]
    verdict = quality_checked.verdict_of(platform.lake.require("quality_checked", "trees", "2024"))
    assert verdict is not None
    outcomes = [one.outcome.value for one in verdict.results]
    assert (held.count(True), held.count(False)) == (outcomes.count("PASS"), outcomes.count("FAIL"))
    assert False in held
    # Whole: what is referred to is there, under names that are declared.
    here = f"{address}#"
    referred = [one["@id"] for one in _nodes(answer.json()["@graph"]) if set(one) == {"@id"}]
    assert {one for one in referred if one.startswith(here)} <= nodes.keys()
    used = {key.partition(":")[0] for key in _keys(answer.json()) if not key.startswith("@")}
    assert used == set(answer.json()["@context"]) - {"xsd"}
    for inside in ("kim", "secret", "token", "Sam Poole", "alias/", "steward"):
        assert inside not in answer.text
    catalog = office.client.get("/open-data/catalog.jsonld").json()
    listed = {one["prov:has_provenance"]["@id"] for one in catalog["dcat:dataset"][-1]["dcat:distribution"]}
    assert listed == {address}
    assert office.client.get("/open-data/trees/2023/provenance.jsonld").status_code == 404
    assert "/open-data/trees/2024/provenance.jsonld" in office.client.get("/open-data").text


def test_incidents_say_what_they_are_made_of_and_no_more(tmp_path: Path) -> None:
    office = Office(tmp_path / "home")
    office.repository.write([change(incident())])
    office.publish()
    download = office.client.get("/open-data/incidents/2026.csv")
    answer = office.client.get("/open-data/incidents/2026/provenance.jsonld")
    nodes = {one["@id"]: one for one in answer.json()["@graph"]}
    made = nodes["https://data.city.example/open-data/incidents/2026.csv"]
    assert _digest(made) == hashlib.sha256(download.content).hexdigest()
    assert nodes[made["prov:wasDerivedFrom"]["@id"]]["@type"] == "prov:Entity"


def _digest(node: Mapping[str, Any]) -> str:
    return str(node["spdx:checksum"]["spdx:checksumValue"]["@value"])


def _nodes(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list):
        for one in value:
            yield from _nodes(one)
    elif isinstance(value, Mapping):
        yield value
        for one in value.values():
            yield from _nodes(one)


def _publish_summary(lake: Lake, dataset: Dataset, folder: Path) -> None:
    files = {}
    for name in ("csv", "parquet"):
        file = folder / f"{dataset.name}.{name}"
        file.write_bytes(name.encode())
        files[name] = [StagedFile.of(file, 1)]
    lake.publish(curated.LAYER, dataset.name, "2024", inputs={}, parts=files, counts={"rows": 1}, schema=[])


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from _keys(one)
    elif isinstance(value, Mapping):
        for key, one in value.items():
            if key != "@context":
                yield key
                yield from _keys(one)


def test_a_server_that_runs_publishes_by_itself(tmp_path: Path) -> None:
    office = Office(tmp_path / "home")
    office.repository.write([change(incident())])
    app = open_api(tmp_path / "home", {}, rate_limit=0, clock=office.clock, publish_every=3600)
    with TestClient(app) as client:
        until(lambda: client.get("/open-data/incidents/2026.csv").status_code == 200)
