"""The history of evaluations: append-only, nothing twice, and nobody sees the future."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city_platform.governance.history import EvaluationHistory, EvaluationRecord, UnreadableEvaluation
from city_platform.local.store import LocalObjectStore
from city_platform.ports import ObjectExists
from city_platform.quality.results import Outcome
from tests.verdicts import RESULT

RECORD = EvaluationRecord(
    dataset="trees",
    partition="2024",
    data_version="v1",
    ruleset_hash="r1",
    rests_on={},
    evaluated_at=datetime(2024, 3, 1, 12, tzinfo=UTC),
    seconds=0.25,
    rows=20,
    rows_failed=0,
    results=(RESULT, replace(RESULT, outcome=Outcome.FAIL)),
    advisory={"source_rules": (RESULT,)},
    figures={"RowCount": 20.0, 'Completeness "species"': 1 / 3},
)


@pytest.fixture
def history(tmp_path: Path) -> EvaluationHistory:
    return EvaluationHistory(LocalObjectStore(tmp_path))


def test_an_evaluation_survives_being_written_down(history: EvaluationHistory) -> None:
    recorded = history.record(RECORD)
    assert recorded == replace(RECORD, sequence=1)
    assert history.newest("trees", "2024") == recorded
    assert recorded.score == 0.5


def test_the_same_evaluation_is_recorded_once_whenever_it_runs(history: EvaluationHistory) -> None:
    history.record(RECORD)
    later = replace(RECORD, evaluated_at=RECORD.evaluated_at + timedelta(days=7), seconds=9.0)
    assert history.record(later).evaluated_at == RECORD.evaluated_at
    changed = history.record(replace(later, rows=21))
    assert changed.sequence == 2
    assert history.record(RECORD).sequence == 3  # what was once so is so again: that is news
    assert [one.sequence for one in history.of("trees", "2024")] == [3, 2, 1]
    assert [one.sequence for one in history.of("trees", "2024", limit=2)] == [3, 2]


def test_whoever_comes_second_takes_the_next_number(
    history: EvaluationHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, other = LocalObjectStore.put, replace(RECORD, data_version="v2")
    overtaken: Iterator[bool] = iter([True])

    def overtaking(store: LocalObjectStore, key: str, data: bytes, *, create_only: bool = False) -> None:
        if next(overtaken, False):
            put(store, key, replace(other, sequence=1).to_json())
            raise ObjectExists(key)
        put(store, key, data, create_only=create_only)

    monkeypatch.setattr(LocalObjectStore, "put", overtaking)
    assert history.record(RECORD).sequence == 2
    assert [one.data_version for one in history.of("trees", "2024")] == ["v1", "v2"]


def test_rules_see_the_newest_figures_of_earlier_partitions_alone(history: EvaluationHistory) -> None:
    for partition, rows in (("2025", 99.0), ("2021", 1.0), ("2023", 3.0), ("2022", 7.0), ("2022", 2.0), ("2024", 50.0)):
        history.record(replace(RECORD, partition=partition, figures={"RowCount": rows}))
    history.record(replace(RECORD, dataset="other", partition="2020", figures={"RowCount": 0.0}))
    assert history.earlier("trees", "2024", {"RowCount", "Mean"}) == {"Mean": [], "RowCount": [1.0, 2.0, 3.0]}
    assert history.earlier("trees", "2021", {"RowCount"}) == {"RowCount": []}


def test_at_most_a_hundred_partitions_are_looked_at(history: EvaluationHistory) -> None:
    for day in range(103):
        partition = (datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=day)).date().isoformat()
        history.record(replace(RECORD, partition=partition, figures={"RowCount": float(day)}))
    seen = history.earlier("trees", "2025", {"RowCount"})["RowCount"]
    assert seen == [float(day) for day in range(3, 103)]


@given(st.binary(max_size=60) | st.just(RECORD.to_json()[:-1]) | st.just(RECORD.to_json().replace(b'"PASS"', b'"?"')))
def test_what_is_no_evaluation_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableEvaluation):
        EvaluationRecord.from_json(data)
