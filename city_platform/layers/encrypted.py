"""Encrypted: the trusted rows for those entitled, in Parquet Modular Encryption with a key a classification."""

from collections.abc import Mapping

from city_platform.contracts.folder import Dataset
from city_platform.lake.manifest import Manifest
from city_platform.layers import quality_checked
from city_platform.layers.platform import Platform

LAYER = "encrypted"
REVISION = "1"  # raise it when this module starts to write other rows from the same inputs


def inputs(platform: Platform, dataset: Dataset, partition: str) -> Mapping[str, str] | None:
    """Trusted version and contract; None while nothing is checked."""
    checked = platform.lake.latest(quality_checked.LAYER, dataset.name, partition)
    return _inputs(checked, dataset) if checked else None


def _inputs(checked: Manifest, dataset: Dataset) -> Mapping[str, str]:
    return {quality_checked.LAYER: checked.version, "contract": dataset.contract_hash, "revision": REVISION}
