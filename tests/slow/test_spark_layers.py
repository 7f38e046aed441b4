"""Layers computed on Spark: the same manifests and files as DuckDB's, and nothing published where Spark is lost."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from city_platform.datasets import Dataset, load_dataset
from city_platform.engines.session import EngineUnavailable
from city_platform.engines.spark_connect import SparkEngine, SparkSession
from city_platform.lake.manifest import Manifest
from city_platform.layers import cleaned, curated, encrypted, landing, quality_checked, raw
from city_platform.layers.platform import Platform
from city_platform.local.platform import local_platform
from city_platform.samples import DATASETS, generate
from tests.spark_server import SparkServer, spark_server
from tests.town import ROOT, StandingClock

# Real files, those of datasets that no generator makes among them.
REAL = {
    "animal_register": "animal-control/animal-control-inventory-register*.csv",
    "building_permits": "issued-building-permits/*.xlsx",
    "contact_centre_metrics": "3-1-1-contact-centre-metrics/*.csv",
    "business_licences": "business-licences/portal-subset-2025.csv",
    "local_area_boundary": "local-area-boundary.csv",
    "lost_and_found_pets": "animal-control/animal-control-inventory-lost-and-found.csv",
    "police_incidents": "vpd-crime/*.csv",
    "rental_standards": "rental-standards/*.csv",
}
# Whose summary has a part that Spark may compute otherwise: medians of decimals, quotients, epochs.
SUMMARISED_HERE = {
    "animal_register",
    "building_permits",
    "contact_centre_metrics",
    "employee_remuneration",
    "lost_and_found_pets",
    "operating_permits",
    "rental_standards",
    "traffic_readings",
    "water_quality_reports",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkServer]:
    with spark_server(tmp_path_factory.mktemp("spark")) as started:
        yield started


def the_dataset(name: str) -> Dataset:
    found, findings = load_dataset(ROOT / "datasets" / name)
    assert found is not None, findings
    return found


def twins(dataset: Dataset, file: Path, folder: Path, engine: SparkEngine) -> tuple[Platform, Platform, str]:
    """Two lakes of the same raw rows, one with Spark; and the newest partition that both have."""
    here = local_platform(folder / "here", StandingClock())
    landed = landing.land(here, dataset, file)
    partition = max(landed.source.rows_by_partition)
    raw.materialize(here, dataset, partition)
    shutil.copytree(folder / "here", folder / "there")
    return here, replace(local_platform(folder / "there", StandingClock()), spark=engine), partition


def made(platform: Platform, dataset: Dataset, partition: str) -> dict[str, Mapping[str, Any]]:
    """Everything the manifests of all layers say but when; and what computed each layer."""
    found: dict[str, Mapping[str, Any]] = {}
    for layer in (cleaned, quality_checked, curated):
        manifests = layer.materialize(platform, dataset, partition)
        listed: Sequence[Manifest] = manifests if isinstance(manifests, tuple) else (manifests,)
        for one in listed:
            body = json.loads(one.to_json())
            del body["published_at"]
            found[one.layer] = body
        found[f"engine of {layer.LAYER}"] = {"engine": platform.engines.take()}
    return found


def same(dataset: Dataset, file: Path, folder: Path, engine: SparkEngine) -> None:
    here, there, partition = twins(dataset, file, folder, engine)
    expected, found = (made(one, dataset, partition) for one in (here, there))
    for layer in ("cleaned", "quality_checked", "rejected", "curated"):
        assert found[layer] == expected[layer], layer
    for layer in ("cleaned", "quality_checked", "curated"):
        ((engine_told,),) = found[f"engine of {layer}"].values()
        on_spark = layer != "curated" or dataset.name not in SUMMARISED_HERE
        assert engine_told.startswith("Spark " if on_spark else "DuckDB: "), engine_told
    # What is encrypted rests on random keys; its rows are those of the files above.
    assert (
        encrypted.materialize(there, dataset, partition).counts
        == encrypted.materialize(here, dataset, partition).counts
    )


@pytest.mark.parametrize("name", DATASETS)
def test_generated_rows_come_out_the_same(name: str, server: SparkServer, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    generate(name, file, 1_500, 11)
    same(the_dataset(name), file, tmp_path, server.engine())


@pytest.mark.real_data
@pytest.mark.parametrize("name", REAL)
def test_real_rows_come_out_the_same(name: str, server: SparkServer, real_data: Path, tmp_path: Path) -> None:
    files = sorted((real_data / "vancouver").glob(REAL[name]))
    if not files:
        pytest.skip(f"no real file of {name}")
    same(the_dataset(name), files[0], tmp_path, server.engine())


def test_few_rows_stay_here(server: SparkServer, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    generate("business_licences", file, 300, 3)
    dataset = the_dataset("business_licences")
    _, there, partition = twins(dataset, file, tmp_path, server.engine(least_rows=1_000_000))
    cleaned.materialize(there, dataset, partition)
    (told,) = there.engines.take()
    assert told.startswith("DuckDB: ")
    assert "1,000,000" in told


def test_a_server_that_dies_in_the_middle_publishes_nothing(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "rows.csv"
    generate("business_licences", file, 3_000, 5)
    dataset = the_dataset("business_licences")
    with spark_server(tmp_path_factory.mktemp("dying")) as server:
        _, there, partition = twins(dataset, file, tmp_path, server.engine())
        stream = SparkSession.stream

        def dying(session: SparkSession, sql: str) -> Any:
            reader = stream(session, sql)
            server.kill()
            return reader

        monkeypatch.setattr(SparkSession, "stream", dying)
        with pytest.raises(EngineUnavailable, match="nothing was published"):
            cleaned.materialize(there, dataset, partition)
    assert there.lake.latest(cleaned.LAYER, dataset.name, partition) is None
    assert list(there.lake.store.scratch().glob("*")) == []
    # The next run, here because the server is gone, mends it.
    assert cleaned.materialize(replace(there, spark=None), dataset, partition).counts["rows"] > 0


def test_two_workers_give_the_same(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path / "rows.csv"
    generate("business_licences", file, 20_000, 7, [2024])
    with spark_server(tmp_path_factory.mktemp("workers"), "local-cluster[2,1,1024]") as server:
        same(the_dataset("business_licences"), file, tmp_path, server.engine())
        executors = set(re.findall(r"Executor added: \S+/([0-9]+) on", server.log.read_text(errors="replace")))
    assert len(executors) == 2


def test_a_wrong_address_is_told_without_publishing(tmp_path: Path) -> None:
    pytest.importorskip("pyspark")
    file = tmp_path / "rows.csv"
    generate("business_licences", file, 300, 3)
    dataset = the_dataset("business_licences")
    secret = "sc://127.0.0.1:9/;token=hidden-token"
    _, there, partition = twins(dataset, file, tmp_path, SparkEngine(lambda: secret, "sc://127.0.0.1:9", 0))
    with pytest.raises(EngineUnavailable, match=r"sc://127\.0\.0\.1:9 cannot be reached") as told:
        cleaned.materialize(there, dataset, partition)
    assert "hidden-token" not in str(told.value)
    assert told.value.__cause__ is None
    assert there.lake.latest(cleaned.LAYER, dataset.name, partition) is None
