"""The sensor of exports: bounded, and nothing left out."""

from dataclasses import replace
from datetime import timedelta

import dagster as dg
import pytest

from city_platform.datasets import load_dataset
from city_platform.lake.manifest import StoredFile
from city_platform.layers.platform import Platform
from sensors import incident_exports
from tests.incidents import NOW
from tests.town import ROOT


@pytest.mark.parametrize(
    ("backlog", "requests", "older", "ticks"),
    [(40, 15, 12, 5), pytest.param(500, incident_exports.REQUESTS_A_TICK, 120, 14, marks=pytest.mark.slow)],
)
def test_a_backlog_and_what_comes_late(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, backlog: int, requests: int, older: int, ticks: int
) -> None:
    monkeypatch.setattr(incident_exports, "REQUESTS_A_TICK", requests)
    monkeypatch.setattr(incident_exports, "OLDER_A_TICK", older)
    incidents, mistakes = load_dataset(ROOT / "datasets" / "incidents")
    assert incidents is not None, mistakes
    days = [(NOW.date() - timedelta(days=ago)).isoformat() for ago in range(backlog)]
    partitioning = replace(incidents.contract.partitioning, first_year=int(days[-1][:4]))
    dataset = replace(incidents, contract=replace(incidents.contract, partitioning=partitioning))

    def export(day: str, content: str) -> None:
        file = StoredFile(f"exports/incidents/{day}/{content}.parquet", 1, content * 64, 1)
        parts = {"parquet": [file]}
        platform.lake.publish("exports", "incidents", day, inputs={}, parts=parts, counts={"rows": 1}, schema=[])

    for day in days:
        export(day, "a")
    seen: dict[str, set[str]] = {}
    with dg.DagsterInstance.ephemeral() as instance:

        def tick(number: int, cursor: str | None = None) -> str | None:
            for _ in range(number):
                wanted, cursor = incident_exports.requests(platform, dataset, instance, cursor)
                assert len(wanted) <= requests
                assert cursor is None or len(cursor) == len("2026-03-09")
                for one in wanted:
                    seen.setdefault(str(one.partition_key), set()).add(str(one.run_key))
            return cursor

        cursor = tick(1)
        assert sorted(seen, reverse=True) == days[:requests]
        tick(2)  # a sensor that lost its cursor
        first_round = tick(ticks, cursor)
        assert sorted(seen, reverse=True) == days
        assert all(len(keys) == 1 for keys in seen.values())  # Dagster runs a key once, however often it is asked
        late = days[-3]
        export(late, "b")
        tick(ticks, first_round)
    assert {day for day, keys in seen.items() if len(keys) > 1} == {late}
