"""Every figure of the city's real files, in every row of some partitions: borne out by the rows behind it."""

from pathlib import Path

import pytest

from city_platform.datasets import load_dataset
from city_platform.layers import freshness, landing
from city_platform.layers.trace import Asked, trace
from city_platform.local.platform import local_platform
from tests.integration.test_real_datasets import FILES
from tests.integration.test_trace import table_rows, through, where
from tests.town import ROOT, StandingClock

pytestmark = [pytest.mark.slow, pytest.mark.real_data]
FIGURES = [
    *((name, file) for name, file, *_ in FILES),
    ("business_licences", "business-licences/api-rows-2013-2024.csv"),
    ("business_licences", "business-licences/api-rows-2024-plus.csv"),
    ("parking_tickets", "parking-tickets/parking_tickets_1.jsonl.gz"),
]
MOST = 40  # rows traced of a partition


@pytest.mark.parametrize(("name", "file"), FIGURES)
def test_the_city_s_figures_are_borne_out(name: str, file: str, real_data: Path, tmp_path: Path) -> None:
    dataset, mistakes = load_dataset(ROOT / "datasets" / name)
    assert dataset is not None, mistakes
    platform = local_platform(tmp_path / "home", StandingClock())
    landing.land(platform, dataset, real_data / "vancouver" / file)
    traced = 0
    for partition in freshness.partitions(platform, dataset)[-2:]:
        through(platform, dataset, partition)
        rows = table_rows(platform, dataset, partition)
        behind = 0
        for row in rows[:: max(1, len(rows) // MOST)]:
            found = trace(platform, dataset, partition, Asked(where(row)))
            assert found.found is not None, found.not_narrowed
            assert found.differing == (), row
            assert found.damaged == ()
            behind += found.found.total
            traced += 1
        if len(rows) < 2 * MOST:
            # All rows were traced: no trusted row stands behind two of them.
            assert behind <= platform.lake.require("quality_checked", name, partition).counts["rows"]
    assert traced
