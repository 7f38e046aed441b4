"""Categories, regions and districts: what a city configures, and where on the map a point belongs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from functools import cached_property
from importlib import resources
from math import cos, radians
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import shapely
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from shapely.geometry.base import BaseGeometry

from city_platform.errors import PermanentError
from city_platform.incidents.model import Box
from city_platform.incidents.transitions import REOPEN_DAYS

SATURDAY = 5
METRES_PER_DEGREE = 111_320  # of latitude; of longitude it is less, so a search box of this many is never too small
_SIZE_LIMIT = 50_000_000  # bytes of a boundaries file
_NOBODYS = {"invalid", "example", "test", "localhost"}  # top-level domains

Code = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,49}$")]
Text = Annotated[str, Field(min_length=1, max_length=500)]


class BadReference(PermanentError):
    """The reference file or the boundaries cannot be used; the message holds every mistake."""


class AttributeType(StrEnum):
    """The data types of an Open311 service definition."""

    STRING = "string"
    NUMBER = "number"
    DATETIME = "datetime"
    TEXT = "text"
    SINGLEVALUELIST = "singlevaluelist"
    MULTIVALUELIST = "multivaluelist"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Attribute(_Strict):
    """One question of a category's form."""

    name: Text
    type: AttributeType
    required: bool = False
    values: Mapping[str, Text] = {}

    @model_validator(mode="after")
    def _lists_have_values(self) -> "Attribute":
        listed = self.type in {AttributeType.SINGLEVALUELIST, AttributeType.MULTIVALUELIST}
        if listed != bool(self.values):
            raise ValueError("a list needs `values`, and nothing else has them")
        return self


class ServiceLevel(_Strict):
    """Within how many days an incident should be dealt with."""

    days: Annotated[int, Field(ge=1, le=365)]
    of: Literal["working", "calendar"]


class Category(_Strict):
    """A kind of incident: who deals with it, how fast, and what its form asks. Its code is Open311's service_code."""

    name: Text
    description: Text
    department: Code
    sla: ServiceLevel
    duplicates_within: Annotated[float, Field(gt=0, le=1000)] = 50  # metres
    sensitive: bool = False
    keywords: tuple[Text, ...] = ()
    attributes: Mapping[Code, Attribute] = {}


class District(_Strict):
    name: Text
    region: Code
    centre: tuple[Annotated[float, Field(ge=-90, le=90)], Annotated[float, Field(ge=-180, le=180)]]


class Bounds(_Strict):
    """A box of degrees."""

    south: float
    west: float
    north: float
    east: float


class Licence(_Strict):
    """What everybody may do with what the city publishes."""

    name: Text
    url: Annotated[str, Field(pattern=r"^https://[!-~]+$", max_length=500)]


class City(_Strict):
    name: Text
    reference_prefix: Annotated[str, Field(pattern=r"^[A-Z]{2,4}$")]
    timezone: str
    bounds: Bounds
    jurisdiction_id: Text | None = None  # the city's name in Open311: its web address without www
    licence: Licence
    contact: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")]  # the mailbox for questions about interfaces and data

    @property
    def is_reachable(self) -> bool:
        """Whether somebody may read `contact`: not where its domain is one of those that are nobody's (RFC 2606)."""
        labels = self.contact.lower().rstrip(".").rpartition("@")[2].split(".")
        return labels[-1] not in _NOBODYS and labels[-2:-1] != ["example"]


class Retention(_Strict):
    """How long what was reported is kept after it was closed, in days."""

    # A reporter who is no longer known could not open it again.
    anonymise_days: Annotated[int, Field(gt=REOPEN_DAYS, le=36_500)] = 90  # until reporter and contact data are removed
    remove_days: Annotated[int, Field(le=36_500)] = 730  # until the incident leaves the store; the lake keeps its rows

    @model_validator(mode="after")
    def _anonymised_before_removed(self) -> "Retention":
        if self.remove_days <= self.anonymise_days:
            raise ValueError("`remove_days` has to be more than `anonymise_days`")
        return self


class _Document(_Strict):
    city: City
    retention: Retention = Retention()
    regions: Mapping[Code, Text]
    districts: Mapping[Code, District]
    categories: Mapping[Code, Category]

    @model_validator(mode="after")
    def _regions_exist(self) -> "_Document":
        unknown = {f"{code}: {one.region}" for code, one in self.districts.items() if one.region not in self.regions}
        if unknown:
            raise ValueError(f"districts of regions that are not listed: {', '.join(sorted(unknown))}")
        return self


@dataclass(frozen=True)
class Reference:
    """What a city says of itself. `polygons` are the districts' areas in longitude, latitude."""

    city: City
    retention: Retention
    regions: Mapping[str, str]
    districts: Mapping[str, District]
    categories: Mapping[str, Category]
    polygons: Mapping[str, BaseGeometry]
    changed_at: datetime  # when its files were last written, in UTC

    @cached_property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.city.timezone)

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree(list(self.polygons.values()))

    def with_contact(self, contact: str) -> "Reference":
        """The same with another mailbox. Raises BadReference for what is no address."""
        try:
            city = City.model_validate({**self.city.model_dump(), "contact": contact})
        except ValidationError:
            raise BadReference("the contact has to be an e-mail address, as mailbox@city.org") from None
        return replace(self, city=city)

    def district_at(self, lat: float, long: float) -> str | None:
        """The district of a point; of several on a common border the first by code; None outside the city."""
        bounds = self.city.bounds
        if not (bounds.south <= lat <= bounds.north and bounds.west <= long <= bounds.east):
            return None
        return min(self._hits(shapely.Point(long, lat)), default=None)

    def districts_in(self, box: Box) -> Sequence[str]:
        """The districts that the box touches, by code."""
        return sorted(self._hits(shapely.box(box.west, box.south, box.east, box.north)))

    def _hits(self, shape: BaseGeometry) -> list[str]:
        codes = list(self.polygons)
        return [codes[index] for index in self._tree.query(shape, predicate="intersects")]

    def expected_at(self, category: str, reported_at: datetime) -> datetime:
        """The end of the local day by which an incident of the category should be dealt with."""
        level = self.categories[category].sla
        day, left = reported_at.astimezone(self.zone).date(), level.days
        while left:
            day += timedelta(days=1)
            left -= level.of == "calendar" or day.weekday() < SATURDAY
        return datetime.combine(day, time(23, 59, 59), self.zone)


def cosine(degrees: float) -> float:
    """The cosine of an angle in degrees."""
    return cos(radians(degrees))


def load_reference(path: Path | None = None, boundaries: Path | None = None) -> Reference:
    """The reference of `path`, else the shipped one; districts bounded by `boundaries`, else by nearest centre.

    `boundaries` is a GeoJSON FeatureCollection whose features have a property `name` (or `code`) and a Polygon or
    MultiPolygon. Raises BadReference.
    """
    with resources.as_file(resources.files(__package__).joinpath("reference.yaml")) as shipped:
        file = path or shipped
        data = file.read_bytes()
        changed = max(one.stat().st_mtime for one in (file, boundaries or file))
    where = str(path or "the shipped reference.yaml")
    try:
        document = _Document.model_validate(yaml.safe_load(data.decode("utf-8")))
        ZoneInfo(document.city.timezone)
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'file'}: {one['msg']}" for one in error.errors())
        raise BadReference(f"{where}: {found}") from error
    except (yaml.YAMLError, KeyError, ValueError) as error:
        raise BadReference(f"{where}: {error}") from error
    polygons = _read_boundaries(boundaries, document) if boundaries else _nearest(document)
    changed_at = datetime.fromtimestamp(changed, UTC)
    return Reference(
        city=document.city,
        retention=document.retention,
        regions=document.regions,
        districts=document.districts,
        categories=document.categories,
        polygons=polygons,
        changed_at=changed_at,
    )


def _nearest(document: _Document) -> Mapping[str, BaseGeometry]:
    """The cells of the points that are nearest to each centre, within the city's bounds."""
    bounds = document.city.bounds
    box = shapely.box(bounds.west, bounds.south, bounds.east, bounds.north)
    # A degree of longitude is shorter than one of latitude: cells are cut on a map where both are equally long.
    shrink = cosine((bounds.south + bounds.north) / 2)

    def stretch(geometry: BaseGeometry, factor: float) -> BaseGeometry:
        return shapely.transform(geometry, lambda points: points * (factor, 1.0))

    centres = {code: shapely.Point(one.centre[1] * shrink, one.centre[0]) for code, one in document.districts.items()}
    cells = shapely.get_parts(
        shapely.voronoi_polygons(shapely.MultiPoint(list(centres.values())), extend_to=stretch(box, shrink))
    )
    found: dict[str, BaseGeometry] = {}
    for code, centre in centres.items():
        cell = next(cell for cell in cells if cell.covers(centre))
        found[code] = stretch(cell, 1 / shrink).intersection(box)
    return found


def _read_boundaries(path: Path, document: _Document) -> Mapping[str, BaseGeometry]:
    if path.stat().st_size > _SIZE_LIMIT:
        raise BadReference(f"{path}: {path.stat().st_size} bytes are more than {_SIZE_LIMIT}: simplify the polygons")
    codes = {_plain(name): code for code, one in document.districts.items() for name in (code, one.name)}
    found: dict[str, BaseGeometry] = {}
    mistakes: list[str] = []
    try:
        features: list[Mapping[str, Any]] = json.loads(path.read_bytes())["features"]
        for number, feature in enumerate(features, 1):
            name = str(feature["properties"].get("code") or feature["properties"].get("name") or "")
            shape = shapely.from_geojson(json.dumps(feature["geometry"]))
            if _plain(name) not in codes:
                mistakes.append(f"feature {number}: no district is called {name!r}")
            elif shape.geom_type not in {"Polygon", "MultiPolygon"} or not shape.is_valid:
                mistakes.append(f"feature {number} ({name}): not a valid Polygon or MultiPolygon")
            else:
                found[codes[_plain(name)]] = shape
    except (ValueError, KeyError, TypeError, AttributeError, shapely.errors.ShapelyError) as error:
        raise BadReference(f"{path}: this is no GeoJSON FeatureCollection ({type(error).__name__}: {error})") from error
    mistakes += [f"district {code} has no polygon" for code in document.districts if code not in found]
    if mistakes:
        raise BadReference(f"{path}: {'; '.join(mistakes)}")
    return {code: found[code] for code in document.districts}


def _plain(name: str) -> str:
    """Names differ between sources in hyphens, spaces and case."""
    return "".join(character for character in name.casefold() if character.isalnum())
