"""What every layer after the gate does first: ask whether exactly the data it is about to read may be used."""

from city_platform.datasets import Dataset
from city_platform.engines.session import Session
from city_platform.governance.decisions import read_decisions
from city_platform.lake.lake import Lake
from city_platform.lake.manifest import Manifest
from city_platform.layers import cleaned, quality_checked
from city_platform.layers.computing import files_of
from city_platform.layers.platform import Platform
from city_platform.layers.quality_checked import PASSED, passed_relation
from city_platform.layers.surroundings import basis_of
from city_platform.quality.gate import Decisions, Standing, admit, standing


def gate(platform: Platform, dataset: Dataset, partition: str, decisions: Decisions | None = None) -> Standing | None:
    """How the gate stands for the newest cleaned data under today's rules; None while there is no such data.

    `decisions` spares reading them again where many partitions are asked for.
    """
    newest = platform.lake.latest(cleaned.LAYER, dataset.name, partition)
    if newest is None:
        return None
    checked = platform.lake.latest(quality_checked.LAYER, dataset.name, partition)
    decided = read_decisions(platform.audit) if decisions is None else decisions
    return _standing(platform, dataset, newest, checked, decided)


def trusted(platform: Platform, dataset: Dataset, partition: str, session: Session) -> Manifest:
    """Makes the passed rows readable as `PASSED` in the session, if they may be used; the manifest they are from.

    Raises as `admitted` does.
    """
    checked = admitted(platform, dataset, partition)
    passed(session, platform.lake, checked)
    return checked


def admitted(platform: Platform, dataset: Dataset, partition: str) -> Manifest:
    """The manifest that tells the passed rows, if they may be used.

    Raises NotPublished without data, GateClosed unless the newest cleaned version passed today's rules or a steward
    waived every rule it failed.
    """
    lake = platform.lake
    newest = lake.require(cleaned.LAYER, dataset.name, partition)
    checked = lake.latest(quality_checked.LAYER, dataset.name, partition)
    admit(_standing(platform, dataset, newest, checked, read_decisions(platform.audit)), dataset.name, partition)
    assert checked is not None  # noqa: S101 -- without it there is no verdict, and nothing is admitted
    return checked


def passed(session: Session, lake: Lake, checked: Manifest) -> None:
    """Makes the passed rows of a manifest readable as `PASSED` in the session."""
    passed_relation(session, *(files_of(session, lake, checked, part) for part in ("rows", "failed")))


def _standing(
    platform: Platform, dataset: Dataset, newest: Manifest, checked: Manifest | None, decisions: Decisions
) -> Standing:
    """How the gate stands for the cleaned data of `newest` by the verdict of `checked`."""
    return standing(
        quality_checked.verdict_of(checked),
        dataset=dataset.name,
        partition=newest.partition,
        data_version=newest.version,
        ruleset_hash=dataset.ruleset_hash,
        decisions=decisions,
        now=platform.clock.now(),
        rests_on=basis_of(platform, dataset, newest.partition).versions,
    )


__all__ = ["PASSED", "admitted", "gate", "passed", "trusted"]
