"""Every object has one zone, and a listing looks into each zone that could hold something."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city_platform.lake.zones import FOLDERS, UnknownPlace, Zone, zone_of, zones_under


@pytest.mark.parametrize(
    ("key", "zone"),
    [
        ("raw/d/year=2024/x", Zone.RAW),
        ("exports/incidents/dead/x.json", Zone.RAW),
        ("incidents/media/x/1.jpg", Zone.RAW),
        ("rejected/d/year=2024/x", Zone.TRANSFORM),
        ("manifests/quality_checked/d/2024/1.json", Zone.TRANSFORM),
        ("encrypted/d/year=2024/x", Zone.CURATED),
        ("manifests/curated/d/2024/1.json", Zone.CURATED),
        ("pruned/curated/d/2024/1.json", Zone.CURATED),
        ("audit-head.json", Zone.CRAWLER),
        ("manifests/profile/d/2024/1.json", Zone.CRAWLER),
    ],
)
def test_the_first_folder_decides_and_a_manifests_second(key: str, zone: Zone) -> None:
    assert zone_of(key) is zone


@pytest.mark.parametrize("key", ["", "x", "cleanedx/a", "manifests", "manifests/", "manifests/x/y", "athena/raw/x"])
def test_what_has_no_zone_is_an_error_that_says_where_to_decide(key: str) -> None:
    with pytest.raises(UnknownPlace, match=r"city_platform/lake/zones\.py"):
        zone_of(key)


@given(st.sampled_from(FOLDERS), st.sampled_from(["", "manifests/", "pruned/"]), st.data())
def test_a_listing_misses_no_zone(folder: str, before: str, data: st.DataObject) -> None:
    key = f"{before}{folder}/d/x"
    prefix = key[: data.draw(st.integers(0, len(key)))]
    assert zone_of(key) in zones_under(prefix)


def test_a_listing_looks_nowhere_else() -> None:
    assert zones_under("manifests/cleaned/") == {Zone.TRANSFORM}
    assert zones_under("cleaned/d/") == {Zone.TRANSFORM}
    assert zones_under("curat") == {Zone.CURATED}
    assert zones_under("clean/") == zones_under("nobodys") == zones_under("manifests/clean/") == frozenset()
    assert zones_under("") == zones_under("manifests/") == frozenset(Zone)
