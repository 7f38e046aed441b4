"""Every business-licence and parking-ticket file of the city through all layers: no row is lost on the way."""

from pathlib import Path

import duckdb
import pytest

from city_platform.datasets import Dataset, load_datasets
from city_platform.layers import encrypted, freshness, landing
from city_platform.layers.platform import Platform
from city_platform.local.platform import local_platform
from tests.town import ROOT, StandingClock

pytestmark = pytest.mark.real_data

FOLDERS = {"business_licences": "business-licences", "parking_tickets": "parking-tickets"}


@pytest.fixture(scope="module", params=FOLDERS)
def city(
    request: pytest.FixtureRequest, real_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Platform, Dataset, list[landing.Landing]]:
    platform = local_platform(tmp_path_factory.mktemp(request.param), StandingClock())
    dataset = next(one for one in load_datasets(ROOT / "datasets") if one.name == request.param)
    files = sorted(real_data.joinpath("vancouver", FOLDERS[request.param]).iterdir())
    assert files
    landings = [landing.land(platform, dataset, file) for file in files]
    for year in freshness.partitions(platform, dataset):
        for layer in freshness.LAYERS:
            layer.materialize(platform, dataset, year)
    return platform, dataset, landings


def test_rows_in_are_rows_passed_failed_and_twice(city: tuple[Platform, Dataset, list[landing.Landing]]) -> None:
    platform, dataset, landings = city
    total = dict.fromkeys(("passed", "failed", "duplicates", "removed"), 0)
    print()  # noqa: T201 -- every number is shown
    for year in freshness.partitions(platform, dataset):
        lake = platform.lake
        raw, cleaned, checked = (lake.require(one, dataset.name, year) for one in ("raw", "cleaned", "quality_checked"))
        counts = {
            "passed": checked.counts["rows"],
            "failed": checked.counts["failed"],
            "duplicates": cleaned.counts["duplicates"],
            "removed": cleaned.counts["removed"],
        }
        print(f"{dataset.name} {year}: in {raw.counts['rows']:,}, {counts}")  # noqa: T201
        assert raw.counts["rows"] == sum(counts.values())
        assert lake.require("encrypted", dataset.name, year).counts["rows"] == counts["passed"]
        for name, count in counts.items():
            total[name] += count
    assert sum(one.source.rows for one in landings) == sum(total.values())
    assert all(one.source.unreadable == one.source.unplaced == 0 for one in landings)
    assert total["removed"] == 0
    assert total["failed"] > 0


def test_every_year_passes_its_gate(city: tuple[Platform, Dataset, list[landing.Landing]]) -> None:
    platform, dataset, _ = city
    assert not any(freshness.closed(platform, dataset, year) for year in freshness.partitions(platform, dataset))
    assert not any(freshness.outdated(platform, dataset, year) for year in freshness.partitions(platform, dataset))


def test_the_original_is_kept_byte_for_byte(
    city: tuple[Platform, Dataset, list[landing.Landing]], real_data: Path
) -> None:
    platform, dataset, landings = city
    for one in landings:
        file = real_data / "vancouver" / FOLDERS[dataset.name] / one.source.name
        assert platform.lake.store.local_path(one.source.original.key).read_bytes() == file.read_bytes()


def test_public_columns_open_in_duckdb_and_the_others_with_a_key(
    city: tuple[Platform, Dataset, list[landing.Landing]],
) -> None:
    platform, dataset, _ = city
    year = freshness.partitions(platform, dataset)[-1]
    manifest = platform.lake.require("encrypted", dataset.name, year)
    data = next(file for file in manifest.parts["rows"] if file.rows)
    path = platform.lake.store.local_path(data.key)
    (count,) = duckdb.sql(f"SELECT count(Status) FROM read_parquet('{path}', hive_partitioning = false)").fetchall()[0]
    assert 0 < count <= data.rows
    with pytest.raises(duckdb.Error):
        duckdb.sql(f"SELECT max(Street) FROM read_parquet('{path}', hive_partitioning = false)").fetchall()
    assert encrypted.read(platform, dataset, year, ["Street"]).read_all().num_rows == data.rows
