"""Drafts of the city's real files, beside what stewards decided about the same columns."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from city_platform.cli.app import app
from city_platform.datasets import load_dataset
from tests.town import ROOT

pytestmark = pytest.mark.real_data

FILES = {
    "business_licences": "business-licences/portal-subset-2025.csv",
    "service_requests_311": "3-1-1-service-requests/raw_311_2026-04-19.csv",
    "contact_centre_metrics": "3-1-1-contact-centre-metrics/3-1-1-contact-centre-metrics_2024-10.csv",
    "lost_and_found_pets": "animal-control/animal-control-inventory-lost-and-found.csv",
    "animal_register": "animal-control/animal-control-inventory-register_2022-02.csv",
    "building_permits": "issued-building-permits/2023_issued-building-permits.xlsx",
    "police_incidents": "vpd-crime/crimedata_csv_AllNeighbourhoods_2022.csv",
    "rental_standards": "rental-standards/rental-standards-current-issues_2019.csv",
    "local_area_boundary": "local-area-boundary.csv",
    "parking_tickets": "parking-tickets/parking_tickets_1.jsonl.gz",
}


@pytest.mark.parametrize("name", FILES)
def test_the_file_passes_its_draft_and_nobody_is_proposed_as_public(
    name: str, real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITY_PLATFORM_HOME", str(tmp_path / "home"))
    file = real_data / "vancouver" / FILES[name]
    done = CliRunner().invoke(
        app, ["datasets", "draft", str(file), "--name", name, "--folder", str(tmp_path / "datasets")]
    )
    assert done.exit_code == 0, done.output
    drafted, _ = load_dataset(tmp_path / "datasets" / name)
    kept, _ = load_dataset(ROOT / "datasets" / name)
    assert drafted is not None
    assert kept is not None
    decided = {
        "".join(header.split()).casefold(): one
        for one in kept.contract.columns
        for header in (one.source_name, *one.aliases)
    }
    compared = [
        (one, decided[header])
        for one in drafted.contract.columns
        if (header := "".join(one.source_name.split()).casefold()) in decided
    ]
    assert len(compared) > len(drafted.contract.columns) / 2
    assert [one.name for one, steward in compared if steward.personal and not one.personal] == []
