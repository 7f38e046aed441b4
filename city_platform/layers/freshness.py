"""Which layers of a partition are out of date: made from other inputs than those that stand now."""

import hashlib
import json
from collections.abc import Sequence

from city_platform.datasets import Dataset
from city_platform.governance.decisions import read_decisions
from city_platform.layers import (
    cleaned,
    curated,
    encrypted,
    exported,
    gated,
    landing,
    quality_checked,
    raw,
    surroundings,
)
from city_platform.layers.platform import Platform

# In the order in which they are made.
LAYERS = (raw, cleaned, quality_checked, curated, encrypted)
GATED = (curated.LAYER, encrypted.LAYER)


def partitions(platform: Platform, dataset: Dataset) -> Sequence[str]:
    """Those for which any source has landed or anything is published."""
    lake = platform.lake
    if dataset.contract.exported:
        return lake.partitions(exported.LAYER, dataset.name)
    landed = {one for source in landing.sources(lake, dataset.name) for one in source.rows_by_partition}
    return sorted(landed | set(lake.partitions(raw.LAYER, dataset.name)))


def outdated(platform: Platform, dataset: Dataset, partition: str) -> Sequence[str]:
    """The layers to make again, in order. A layer behind an outdated one is outdated too.

    Layers behind a gate that stands closed for the newest data are not listed: running them again would change
    nothing until the data, the rules or a steward's decision does.
    """
    for index, layer in enumerate(LAYERS):
        made = platform.lake.latest(layer.LAYER, dataset.name, partition)
        wanted = layer.inputs(platform, dataset, partition)
        if wanted is None:
            return ()
        if made is None or dict(made.inputs) != dict(wanted):
            if layer.LAYER in GATED and closed(platform, dataset, partition):
                return ()
            return tuple(each.LAYER for each in LAYERS[index:])
    return ()


def closed(platform: Platform, dataset: Dataset, partition: str) -> bool:
    """Whether the gate stands closed for the newest cleaned data."""
    standing = gated.gate(platform, dataset, partition)
    return standing is not None and not standing.open


def work_key(platform: Platform, dataset: Dataset, partition: str) -> str:
    """Names the work that would bring the partition up to date: same sources, definitions, decisions and references,
    same key.

    Every waiver counts, in force or not: giving one is other work, and so is its end.
    """
    definitions = [dataset.contract_hash, dataset.recipe_hash, dataset.ruleset_hash, dataset.curated_hash]
    wanted = [
        raw.inputs(platform, dataset, partition),
        definitions,
        [_revision(layer) for layer in LAYERS],
        _waivers(platform, dataset, partition),
        surroundings.basis_of(platform, dataset, partition).versions,
    ]
    digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:16]
    return f"{dataset.name}/{partition}/{digest}"


def _waivers(platform: Platform, dataset: Dataset, partition: str) -> Sequence[tuple[int, bool]]:
    """Number, and whether it is in force, of every waiver that was given for data that failed its rules."""
    verdict = quality_checked.verdict_of(platform.lake.latest(quality_checked.LAYER, dataset.name, partition))
    if verdict is None or verdict.passed:
        return ()
    now = platform.clock.now()
    decided = read_decisions(platform.audit).about(dataset.name, partition)
    return [(waiver.number, waiver.in_force(now)) for waiver in decided.waivers]


def _revision(layer: object) -> str:
    return str(getattr(layer, "REVISION", ""))
