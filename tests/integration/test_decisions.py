"""From a failed year to a released one, and back again when the waiver expires: in the layers and in what the sensor
asks for. What Dagster's runs make of it is in test_steward_desk.py.
"""

from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from city_platform.datasets import Dataset
from city_platform.governance.decisions import Desk
from city_platform.layers import cleaned, curated, encrypted, landing, quality_checked, raw
from city_platform.layers.freshness import outdated, work_key
from city_platform.layers.gated import gate
from city_platform.layers.platform import Platform
from city_platform.quality.gate import GateClosed
from sensors.outdated import outdated_requests
from tests.town import StandingClock, bad_trees, trees_csv

RULE = "completeness_species"
REASON = "the nursery confirmed that these are unknown"
BEHIND = ("quality_checked", "curated", "encrypted")


@pytest.fixture
def judged(platform: Platform, trees: Dataset, tmp_path: Path) -> Platform:
    """2024 failed its gate."""
    landing.land(platform, trees, trees_csv(tmp_path / "trees.csv", bad_trees(2024)))
    for layer in (raw, cleaned, quality_checked):
        layer.materialize(platform, trees, "2024")
    return platform


@pytest.fixture
def desk(judged: Platform, trees: Dataset) -> Desk:
    return Desk(judged.audit, trees.contract, "parks-steward", "tester")


def waive(desk: Desk, platform: Platform, rule: str = RULE, days: int = 7) -> None:
    verdict = quality_checked.verdict_of(platform.lake.latest("quality_checked", "trees", "2024"))
    assert verdict is not None
    desk.waive(verdict, [rule], REASON, platform.clock.now() + timedelta(days=days))


def word(platform: Platform, trees: Dataset) -> str:
    standing = gate(platform, trees, "2024")
    assert standing is not None
    return standing.word


def test_a_waived_year_is_published_until_the_very_second(
    judged: Platform, trees: Dataset, desk: Desk, clock: StandingClock
) -> None:
    closed = work_key(judged, trees, "2024")
    assert (word(judged, trees), outdated(judged, trees, "2024")) == ("closed", ())
    waive(desk, judged)
    assert (word(judged, trees), outdated(judged, trees, "2024")) == ("waived", BEHIND)
    waived = work_key(judged, trees, "2024")
    for layer in (quality_checked, curated, encrypted):
        layer.materialize(judged, trees, "2024")
    assert outdated(judged, trees, "2024") == ()
    before = judged.lake.require("curated", "trees", "2024")

    clock.time += timedelta(days=7) - timedelta(seconds=1)
    assert (word(judged, trees), outdated(judged, trees, "2024")) == ("waived", ())
    clock.time += timedelta(seconds=1)
    assert (word(judged, trees), outdated(judged, trees, "2024")) == ("lapsed", BEHIND)
    assert len({closed, waived, work_key(judged, trees, "2024")}) == 3
    quality_checked.materialize(judged, trees, "2024")
    assert outdated(judged, trees, "2024") == ()
    for refused in (curated, encrypted):
        with pytest.raises(GateClosed, match="expired at 2026-03-16"):
            refused.materialize(judged, trees, "2024")
    assert judged.lake.require("curated", "trees", "2024") == before  # what was published stays


def test_the_sensor_goes_on_after_a_waiver_and_judges_again_after_its_end(
    judged: Platform, trees: Dataset, desk: Desk, clock: StandingClock
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:

        def asked() -> list[str]:
            return [str(request.run_key) for request in outdated_requests(lambda: judged, [trees], instance)]

        assert asked() == []
        waive(desk, judged)
        (after_waiver,) = asked()
        for layer in (quality_checked, curated, encrypted):
            layer.materialize(judged, trees, "2024")
        assert asked() == []
        clock.time += timedelta(days=7)
        (after_its_end,) = asked()
        assert after_its_end != after_waiver
        quality_checked.materialize(judged, trees, "2024")
        assert asked() == []


def test_a_waiver_does_not_reach_newer_data(judged: Platform, trees: Dataset, desk: Desk, tmp_path: Path) -> None:
    waive(desk, judged)
    landing.land(judged, trees, trees_csv(tmp_path / "trees.csv", bad_trees(2024, count=30)))
    for layer in (raw, cleaned, quality_checked):
        layer.materialize(judged, trees, "2024")
    assert word(judged, trees) == "closed"
    with pytest.raises(GateClosed, match=RULE):
        curated.materialize(judged, trees, "2024")


def test_a_tampered_log_closes_every_waived_gate(judged: Platform, trees: Dataset, desk: Desk) -> None:
    waive(desk, judged)
    quality_checked.materialize(judged, trees, "2024")
    store = judged.lake.store
    store.put("audit/0000000001.json", store.get("audit/0000000001.json").replace(b"2026-03-16", b"2036-03-16"))
    assert outdated(judged, trees, "2024") == BEHIND  # judged again, so that its checks show it
    quality_checked.materialize(judged, trees, "2024")
    with pytest.raises(GateClosed, match="audit log does not verify"):
        curated.materialize(judged, trees, "2024")
