"""What every layer after the gate does first: ask for the verdict on exactly the data it is about to read."""

from city_platform.datasets import Dataset
from city_platform.engines.duckdb import Session
from city_platform.lake.manifest import Manifest
from city_platform.layers import cleaned, quality_checked
from city_platform.layers.platform import Platform
from city_platform.layers.quality_checked import PASSED, passed_relation
from city_platform.quality.gate import admit


def trusted(platform: Platform, dataset: Dataset, partition: str, session: Session) -> Manifest:
    """Makes the passed rows readable as `PASSED` in the session, if they may be used; the manifest they are from.

    Raises NotPublished without data, GateClosed unless a passing verdict stands for the newest cleaned version
    under today's rules.
    """
    lake = platform.lake
    newest = lake.require(cleaned.LAYER, dataset.name, partition)
    checked = lake.latest(quality_checked.LAYER, dataset.name, partition)
    admit(
        quality_checked.verdict_of(checked),
        dataset=dataset.name,
        partition=partition,
        data_version=newest.version,
        ruleset_hash=dataset.ruleset_hash,
    )
    allowed = lake.require(quality_checked.LAYER, dataset.name, partition)
    passed_relation(session, lake.paths(allowed, "rows"), lake.paths(allowed, "failed"))
    return allowed


__all__ = ["PASSED", "trusted"]
