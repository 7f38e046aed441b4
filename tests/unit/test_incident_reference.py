"""A city's own reference and boundaries, and every mistake in them named."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from city_platform.incidents.nearby import box_around
from city_platform.incidents.reference import BadReference, load_reference
from tests.incidents import reference


def test_every_centre_lies_in_its_own_district() -> None:
    for code, district in reference().districts.items():
        assert reference().district_at(*district.centre) == code


def test_the_districts_cover_the_bounds_without_overlap() -> None:
    bounds = reference().city.bounds
    whole = (bounds.north - bounds.south) * (bounds.east - bounds.west)
    assert sum(one.area for one in reference().polygons.values()) == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize("place", [(49.33, -123.1), (49.25, -123.3), (0, 0), (90, 180)])
def test_a_place_outside_has_no_district(place: tuple[float, float]) -> None:
    assert reference().district_at(*place) is None


def test_near_a_border_both_districts_are_asked() -> None:
    near = reference().districts_in(box_around(49.2633, -123.1148, 50))  # half-way between two centres
    assert set(near) == {"fairview", "mount-pleasant"}


@pytest.mark.parametrize(
    ("category", "reported", "expected"),
    [
        ("road_damage", "2026-11-20T18:00:00Z", "2026-12-04T23:59:59-07:00"),  # ten working days after a Friday
        ("water_sewer", "2026-11-21T06:59:00Z", "2026-11-21T23:59:59-07:00"),  # still the 20th in Vancouver
        ("parking", "2026-11-20T18:00:00Z", "2026-11-23T23:59:59-07:00"),  # the Monday after
    ],
)
def test_the_time_to_expect_counts_in_the_citys_days(category: str, reported: str, expected: str) -> None:
    assert reference().expected_at(category, datetime.fromisoformat(reported)) == datetime.fromisoformat(expected)


def test_real_boundaries_decide_where_they_are_given(tmp_path: Path) -> None:
    document = {
        "city": {
            "name": "Town",
            "reference_prefix": "TWN",
            "timezone": "UTC",
            "bounds": {"south": 0, "west": 0, "north": 2, "east": 2},
            "licence": {"name": "Free", "url": "https://town.example/licence"},
            "contact": "desk@town.example",
        },
        "regions": {"all": "All"},
        "districts": {
            "west-bank": {"name": "West Bank", "region": "all", "centre": [1, 0.5]},
            "east-bank": {"name": "East Bank", "region": "all", "centre": [1, 1.5]},
        },
        "categories": {
            "other": {"name": "Other", "description": "x", "department": "desk", "sla": {"days": 1, "of": "calendar"}}
        },
    }
    config = tmp_path / "town.yaml"
    config.write_text(yaml.safe_dump(document))

    def box(name: str, west: float, east: float) -> dict[str, object]:
        ring = [[west, 0], [east, 0], [east, 2], [west, 2], [west, 0]]
        return {"properties": {"name": name}, "geometry": {"type": "Polygon", "coordinates": [ring]}}

    borders = tmp_path / "town.geojson"
    borders.write_text(json.dumps({"features": [box("WEST-BANK", 0, 0.2), box("East bank", 0.2, 2)]}))
    town = load_reference(config, borders)
    assert town.district_at(1, 0.5) == "east-bank"  # nearer to the other centre
    assert town.expected_at("other", datetime(2026, 1, 1, tzinfo=UTC)).day == 2
    borders.write_text(json.dumps({"features": [box("West Bank", 0, 0.2), box("Atlantis", 1, 2)]}))
    with pytest.raises(BadReference, match=r"feature 2: no district is called 'Atlantis'; district east-bank has no"):
        load_reference(config, borders)
    config.write_text(yaml.safe_dump(document | {"regions": {"some": "Some"}, "colour": "red"}))
    with pytest.raises(BadReference, match="colour"):
        load_reference(config)
    config.write_bytes("name: Bœrne".encode("latin-1", "replace") + b"\xfc")
    with pytest.raises(BadReference, match=r"town\.yaml: .*utf-8"):
        load_reference(config)
