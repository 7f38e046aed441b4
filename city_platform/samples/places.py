"""Addresses: a building has one postal code, local area and point, however many licences are issued in it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from city_platform.samples.csvtext import cell, cells
from city_platform.samples.draws import generator, strings, wheel
from city_platform.samples.words import LOCAL_AREAS, NAMED_STREETS, SEATS_ELSEWHERE, numbered_avenues

PLACES = 16_384
_BUILDINGS = 9_830  # the other places are seats without an address in the city: contractors, home offices
_POSTAL_LETTERS = "ABCEGHJKLMNPRSTVWXYZ"
_LOCAL_AREA, _POINT = "LocalArea", "point"  # the two parts of a place that stand apart from its address

PointText = Callable[[str, str], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Dirt:
    """Something wrong in one field of some addresses."""

    field: str
    change: Callable[[str], str]
    share: float  # of all places, and so of all rows


def _always(text: str) -> Callable[[str], str]:
    return lambda _: text


ADDRESS_DIRT = (
    Dirt("Province", _always("--"), 3e-4),
    Dirt("Province", _always("v5"), 2e-4),
    Dirt("Province", _always("bc"), 6e-4),
    Dirt("PostalCode", _always("NOT APPLIC"), 4e-4),
    Dirt("PostalCode", _always("V6B 15G"), 3e-4),
    Dirt("PostalCode", lambda code: code.replace(" ", ""), 8e-3),
    Dirt("PostalCode", lambda code: code.replace(" ", "  "), 2e-3),
    Dirt("PostalCode", str.lower, 2e-3),
    Dirt("City", _always("qBCVancouver"), 2e-4),
    Dirt("City", _always(" Vancouver "), 2e-3),
    Dirt("Street", str.lower, 4e-3),
    Dirt("Street", lambda street: street.replace(" ", "  ", 1) + " ", 4e-3),
    Dirt("Country", _always(""), 9e-2),
    Dirt(_POINT, _always(""), 2e-2),
)


@dataclass(frozen=True, slots=True)
class Places:
    """One entry a place, as fragments of a row: cells with the delimiter after each."""

    addresses: Any  # pyarrow StringArray: House, Street, City, Province, Country, PostalCode
    local_areas: Any  # pyarrow StringArray: LocalArea; one more, empty, at the end
    points: Any  # pyarrow StringArray: Geom and mostly geo_point_2d, the row's last cells with the line end
    buildings: NDArray[np.bool_]  # whether the place is an address in the city

    @property
    def no_local_area(self) -> int:
        """Index of the empty local area."""
        return len(self.local_areas) - 1


def places(seed: int, delimiter: str, point: PointText, line_end: str) -> Places:
    """The places of one file. `point` writes (latitude, longitude) as the file's last cells."""
    rng = generator(seed, 2)
    found = [*_buildings(rng), *_seats(rng)]
    order = rng.permutation(PLACES)
    _soil(found, rng)
    found = [found[number] for number in order]
    fields = ("House", "Street", "City", "Province", "Country", "PostalCode")
    return Places(
        addresses=strings([cells((place[field] for field in fields), delimiter) for place in found]),
        local_areas=strings([place[_LOCAL_AREA] + delimiter for place in found] + [delimiter]),
        points=strings([_point_cells(place[_POINT], delimiter, point) + line_end for place in found]),
        buildings=order < _BUILDINGS,
    )


def _buildings(rng: np.random.Generator) -> Iterator[dict[str, str]]:
    areas = wheel([share for *_, share in LOCAL_AREAS])[rng.integers(0, 65_536, _BUILDINGS)]
    avenues = numbered_avenues()
    named = rng.random(_BUILDINGS) < 0.7  # noqa: PLR2004 - the share of businesses on a named street
    streets, numbers = rng.integers(0, 1 << 30, (2, _BUILDINGS))
    offsets = rng.normal(0.0, 0.006, (2, _BUILDINGS))  # degrees, about half a kilometre
    letters = rng.integers(0, len(_POSTAL_LETTERS), (_BUILDINGS, 2)).tolist()
    digits = rng.integers(0, 10, (_BUILDINGS, 3)).tolist()
    for row in range(_BUILDINGS):
        area, latitude, longitude, _ = LOCAL_AREAS[areas[row]]
        choice: Sequence[str] = NAMED_STREETS if named[row] else avenues
        yield {
            "House": str(1 + int(numbers[row]) % 8_900),
            "Street": choice[int(streets[row]) % len(choice)],
            "City": "Vancouver",
            "Province": "BC",
            "Country": "CA",
            "PostalCode": _postal_code(letters[row], digits[row]),
            _LOCAL_AREA: area,
            _POINT: f"{latitude + offsets[0, row]:.13f} {longitude + offsets[1, row]:.12f}",
        }


def _seats(rng: np.random.Generator) -> Iterator[dict[str, str]]:
    elsewhere = rng.random(PLACES - _BUILDINGS) < 0.12  # noqa: PLR2004 - the share of businesses seated outside the city
    cities = rng.integers(0, len(SEATS_ELSEWHERE), PLACES - _BUILDINGS)
    for outside, number in zip(elsewhere.tolist(), cities.tolist(), strict=True):
        city, province = SEATS_ELSEWHERE[number] if outside else ("Vancouver", "BC")
        area = "Out of Town" if outside else LOCAL_AREAS[number % len(LOCAL_AREAS)][0]
        yield {
            "House": "",
            "Street": "",
            "City": city,
            "Province": province,
            "Country": "US" if province == "WA" else "CA",
            "PostalCode": "",
            _LOCAL_AREA: area if number % 19 else "UBC",
            _POINT: "",
        }


def _soil(found: list[dict[str, str]], rng: np.random.Generator) -> None:
    """Spoils as many buildings as each kind of dirt's share of all places says, at least one; two kinds may meet."""
    for dirt in ADDRESS_DIRT:
        count = max(1, round(dirt.share * PLACES))
        for row in rng.choice(_BUILDINGS, count, replace=False).tolist():
            found[row][dirt.field] = dirt.change(found[row][dirt.field])


def _postal_code(letters: Sequence[int], digits: Sequence[int]) -> str:
    """`V5K 0A1` to `V6Z 9Z9`."""
    area, unit = (_POSTAL_LETTERS[number] for number in letters)
    return f"V{5 + digits[0] % 2}{area} {digits[1]}{unit}{digits[2]}"


def _point_cells(text: str, delimiter: str, point: PointText) -> str:
    if not text:
        return delimiter * (len(point("", "")) - 1)
    return delimiter.join(cell(part, delimiter) for part in point(*text.split(" ")))


def portal_geometry(latitude: str, longitude: str) -> str:
    """A point as the portal exports it: GeoJSON, longitude first."""
    return f'{{"coordinates": [{longitude}, {latitude}], "type": "Point"}}'


def download_geometry(latitude: str, longitude: str) -> str:
    """The same as a downloader saves it: a GeoJSON feature, as Python prints a dictionary."""
    geometry = f"{{'coordinates': [{longitude}, {latitude}], 'type': 'Point'}}"
    return f"{{'type': 'Feature', 'geometry': {geometry}, 'properties': {{}}}}"


def download_pair(latitude: str, longitude: str) -> str:
    """The pair of coordinates as a downloader saves it."""
    return f"{{'lon': {longitude}, 'lat': {latitude}}}"
