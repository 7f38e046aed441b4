"""|live - batch| / batch, zone by zone."""

from dataclasses import replace
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from city_platform.traffic.agreement import Comparison, Figures, Sums, ZoneHour
from city_platform.traffic.windows import PACE

FIGURES = Figures(10, 20, 10_000, 20 * PACE // 500, 5_000, 10, 3_000, 10, 4, 700, 900, 800, 5)


def compared(*starts: tuple[dict[str, Figures], dict[str, Figures]]) -> list[ZoneHour]:
    comparison = Comparison()
    for live, batch in starts:
        comparison.add(live, batch)
    return comparison.zones()


def test_what_is_the_same_differs_by_nothing() -> None:
    [zone] = compared(({"z": FIGURES}, {"z": FIGURES}), ({"z": FIGURES}, {"z": FIGURES}))
    assert (zone.worst, zone.windows, zone.differing) == (0.0, 2, 0)
    assert zone.live == Sums(20, 40, 2 * FIGURES.pace)
    assert zone.live.speed_kmh == 50.0


def test_a_difference_that_no_sum_of_the_hour_shows_is_counted() -> None:
    [zone] = compared(({"z": replace(FIGURES, max_speed_x10=701)}, {"z": FIGURES}))
    assert (zone.worst, zone.differing) == (0.0, 1)


def test_shares_are_of_what_the_lake_has() -> None:
    [zone] = compared(({"z": replace(FIGURES, readings=9, vehicles=19)}, {"z": FIGURES}))
    assert zone.shares[:2] == (0.1, 0.05)
    assert round(zone.shares[2], 9) == 0.05  # the same pace for fewer vehicles
    assert zone.worst == 0.1


def test_windows_of_one_side_alone() -> None:
    missing, extra = compared(({"b": FIGURES}, {"a": FIGURES}))
    assert (missing.zone, missing.shares) == ("a", (1.0, 1.0, 1.0))
    assert (extra.zone, extra.shares) == ("b", (inf, inf, inf))
    assert missing.differing == extra.differing == 1


@given(
    st.lists(
        st.dictionaries(st.sampled_from("abc"), st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1),
        min_size=1,
        max_size=9,
    )
)
def test_an_hour_is_the_sum_of_its_windows(starts: list[dict[str, tuple[int, int]]]) -> None:
    sides = [
        tuple({zone: replace(FIGURES, readings=of[side]) for zone, of in start.items() if of[side]} for side in (0, 1))
        for start in starts
    ]
    for zone in compared(*((live, batch) for live, batch in sides)):
        live, batch = (sum(start.get(zone.zone, (0, 0))[side] for start in starts) for side in (0, 1))
        assert (zone.live.readings, zone.batch.readings) == (live, batch)
        assert zone.shares[0] == (abs(live - batch) / batch if batch else inf)
        assert zone.differing == sum(a != b for a, b in (start[zone.zone] for start in starts if zone.zone in start))
