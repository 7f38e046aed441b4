"""Every history ends in the truth; and each of the simple designs, or a handler wrong on purpose, is found out."""

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from city_platform.traffic.handler import TrafficHandler
from city_platform.traffic.state import Conflict, StateUnavailable, TrafficState, Window
from city_platform.traffic.windows import FirstOfEach
from tests.traffic import NOON, TOWN, Letters, MemoryState
from tests.traffic_scenarios import Handle, scenario

SCENARIOS = 200
ENOUGH = 60  # a mutant must show itself in as many


@pytest.mark.parametrize("block", range(4))
def test_every_history_ends_in_the_truth(block: int) -> None:
    size = SCENARIOS // 4
    wrong = {seed: found for seed in range(block * size, (block + 1) * size) if (found := scenario(seed))}
    assert wrong == {}


class KeepsWarmCache(TrafficHandler):
    """Believes after a failed write what it believed before."""

    def _forget(self) -> None:
        pass


class Unconditional:
    """Writes over whatever stands there."""

    def __init__(self, state: MemoryState) -> None:
        self.state = state

    def put(self, windows: Sequence[Window]) -> Sequence[Conflict | StateUnavailable | None]:
        answers = []
        for window in windows:
            stored = self.state.kept.get(window.key)
            version = stored.version + 1 if stored else 1
            answers += self.state.put([msgspec.structs.replace(window, version=version)])
        return answers


class AddsUp(Unconditional):
    """Adds a batch's own sums to what stands there: the tutorials' atomic ADD."""

    def put(self, windows: Sequence[Window]) -> Sequence[Conflict | StateUnavailable | None]:
        added = []
        for window in windows:
            stored = self.state.kept.get(window.key)
            if stored:
                window = msgspec.structs.replace(  # noqa: PLW2901 the sum of both is what is written
                    window,
                    readings=stored.readings + window.readings,
                    vehicles=stored.vehicles + window.vehicles,
                )
            added.append(window)
        return super().put(added)


class EveryBatchCold(TrafficHandler):
    """Remembers nothing between batches."""

    def handle(self, event):  # type: ignore[no-untyped-def]  # as the parent's
        self._windows.clear()
        return super().handle(event)


class TakesAll(FirstOfEach):
    """Does not look for the same reading twice in a batch."""

    def __call__(self, cells):  # type: ignore[no-untyped-def]  # as the parent's
        return np.ones(len(cells), dtype=bool)


def made(kind: type[TrafficHandler], state: TrafficState, letters: Letters) -> TrafficHandler:
    return kind(TOWN, state, letters, lambda: NOON + 3_000)


def takes_all(state: TrafficState, letters: Letters) -> TrafficHandler:
    handler = made(TrafficHandler, state, letters)
    handler._first = TakesAll(1)
    return handler


@pytest.mark.parametrize(
    "mutant",
    [
        pytest.param(lambda state, letters: made(KeepsWarmCache, state, letters), id="warm cache after a failure"),
        pytest.param(lambda state, letters: made(TrafficHandler, Unconditional(state), letters), id="blind put"),
        pytest.param(lambda state, letters: made(EveryBatchCold, AddsUp(state), letters), id="atomic add"),
        pytest.param(takes_all, id="duplicates within a batch"),
    ],
)
def test_a_wrong_design_is_found_out(mutant: Handle) -> None:
    assert any(scenario(seed, mutant) for seed in range(ENOUGH))


def test_a_history_meets_every_fault() -> None:
    """Conflicts, failed batches and letters occur, or the tests above would show nothing."""
    met = {"conflicts": 0, "failed": 0, "duplicates": 0, "rejected": 0}

    class Watched(TrafficHandler):
        def handle(self, event):  # type: ignore[no-untyped-def]  # as the parent's
            outcome = super().handle(event)
            met["conflicts"] += outcome.conflicts
            met["failed"] += len(outcome.failed)
            met["duplicates"] += outcome.duplicates
            met["rejected"] += len(outcome.rejected)
            return outcome

    for seed in range(10):
        assert not scenario(seed, lambda state, letters: made(Watched, state, letters))
    assert min(met.values()) > 10
