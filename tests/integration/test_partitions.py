"""Days and hours as partitions, where a file is landed and where Dagster runs them."""

from dataclasses import replace
from pathlib import Path

import pytest

from assets.graph import partitions
from city_platform.contracts.model import Partitioning, PartitionTransform
from city_platform.contracts.partitions import window
from city_platform.datasets import Dataset
from city_platform.layers import landing, raw
from city_platform.layers.platform import Platform


def partitioned(dataset: Dataset, transform: PartitionTransform) -> Dataset:
    partitioning = Partitioning("Planted", transform, first_year=2024)
    return replace(dataset, contract=replace(dataset.contract, partitioning=partitioning))


@pytest.mark.parametrize(
    ("transform", "keys"),
    [
        (PartitionTransform.YEAR, ["2024", "2025"]),
        (PartitionTransform.DAY, ["2024-01-01", "2024-03-10", "2024-11-03", "2024-12-31"]),
        (PartitionTransform.HOUR, ["2024-01-01-00", "2024-03-10-10", "2024-11-03-08", "2024-11-03-09"]),
    ],
)
def test_dagster_means_the_same_time(trees: Dataset, transform: PartitionTransform, keys: list[str]) -> None:
    definition = partitions(partitioned(trees, transform))
    for key in keys:
        meant = definition.time_window_for_partition_key(key)
        first, following = window(key, trees.contract.timezone)
        assert (meant.start.timestamp(), meant.end.timestamp()) == (first.timestamp(), following.timestamp())
    assert definition.get_first_partition_key() == keys[0]


def test_a_file_lands_in_days(platform: Platform, trees: Dataset, tmp_path: Path) -> None:
    dataset = partitioned(trees, PartitionTransform.DAY)
    file = tmp_path / "trees.csv"
    days = ["2024-05-31", "2024-06-01T06:59:59Z", "2024-06-01T07:00:00Z", "2023-12-31"]
    header = ",".join(column.source_name for column in trees.contract.columns)
    at = [column.source_name for column in trees.contract.columns].index("Planted")
    rows = [",".join(day if place == at else "1" for place in range(header.count(",") + 1)) for day in days]
    file.write_text("\n".join([header, *rows]))
    landed = landing.land(platform, dataset, file)
    assert landed.partitions == ("2024-05-31", "2024-06-01")
    assert landed.source.unplaced == 1
    manifest = raw.materialize(platform, dataset, "2024-05-31")
    assert manifest.counts["rows"] == 2
    assert all("/day=2024-05-31/" in file.key for file in manifest.parts["rows"])
