"""What the API tells of the city and of all incidents: reference, counts, map, and whether it works."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from city_platform.api.answers import (
    AttributeAnswer,
    CategoriesAnswer,
    CategoryAnswer,
    CountAnswer,
    DistrictAnswer,
    DistrictsAnswer,
    HealthAnswer,
    RegionAnswer,
    RegionsAnswer,
    StatsAnswer,
    answers,
)
from city_platform.api.desk import Desk, json_response
from city_platform.api.incidents import TheDesk, Who, read_listing, unknown_parameters
from city_platform.incidents.codec import rfc3339
from city_platform.incidents.model import Status
from city_platform.incidents.reference import Reference
from city_platform.incidents.report import InvalidRequest
from city_platform.incidents.repository import Count
from city_platform.incidents.roles import ANONYMOUS, SYSTEM
from city_platform.incidents.service import PAGE_LIMIT, IncidentNotFound
from city_platform.incidents.views import IncidentView, public_view

MAP_LIMIT = 1000
_FRESH = {"Cache-Control": "public, max-age=60"}
_LASTING = {"Cache-Control": "public, max-age=3600"}

router = APIRouter(tags=["city"])


@router.get("/v1/reference/categories", summary="Kinds of incidents", **answers(200, CategoriesAnswer, "All of them"))
def categories(desk: TheDesk, _: Who) -> Response:
    """With the questions that a report of the category may answer in `attributes`."""
    return _told(categories_of(desk.service.reference), _LASTING)


@router.get("/v1/reference/regions", summary="Regions", **answers(200, RegionsAnswer, "All of them"))
def regions(desk: TheDesk, _: Who) -> Response:
    return _told(regions_of(desk.service.reference), _LASTING)


@router.get("/v1/reference/districts", summary="Districts", **answers(200, DistrictsAnswer, "All of them"))
def districts(desk: TheDesk, _: Who) -> Response:
    """Each with its region and centre."""
    return _told(districts_of(desk.service.reference), _LASTING)


@router.get("/v1/stats", summary="Counts of public incidents", **answers(200, StatsAnswer, "As they stand"))
def stats(desk: TheDesk, _: Who) -> Response:
    """By region, district, status and category; every sum is over `counts`."""
    return _told(stats_of(desk), _FRESH)


@router.get(
    "/v1/map.geojson",
    summary="Public incidents on a map",
    **answers(
        200, None, "GeoJSON", 400,
        content={"application/geo+json": {"schema": {"$ref": "#/components/schemas/MapAnswer"}}},
    ),
)  # fmt: skip
def map_of_incidents(
    request: Request,
    desk: TheDesk,
    _: Who,
    region: str | None = None,
    district: str | None = None,
    status: str | None = None,
    category: str | None = None,
) -> Response:
    """The newest 1,000 of one of four lists: region or district, with status or category. Places as everybody may see
    them; incidents without coordinates are left out.
    """
    values = {"region": region, "district": district, "status": status, "category": category}
    faults = unknown_parameters(request, set(values))
    listing = read_listing(values, desk.service.reference, ANONYMOUS, faults)
    if faults or listing is None:
        raise InvalidRequest(faults)
    found: list[IncidentView] = []
    cursor: str | None = None
    while True:
        page = desk.service.list(listing, ANONYMOUS, PAGE_LIMIT, cursor)
        found += [public_view(one, desk.service.reference) for one in page.incidents if one.lat is not None]
        cursor = page.next
        if cursor is None or len(found) >= MAP_LIMIT:
            break
    body = {
        "type": "FeatureCollection",
        "features": [_feature(one) for one in found[:MAP_LIMIT]],
        "truncated": cursor is not None or len(found) > MAP_LIMIT,
    }
    answer = json_response(body, headers=_FRESH)
    answer.headers["content-type"] = "application/geo+json"
    return answer


@router.get("/health", summary="Whether the service works", **answers(200, HealthAnswer, "The store answers"))
def health(desk: TheDesk) -> Response:
    """Asks the store; 503 when it does not answer."""
    with suppress(IncidentNotFound):
        desk.service.get("0" * 26, SYSTEM)
    return json_response({"status": "ok"})


def _feature(one: IncidentView) -> dict[str, object]:
    return {
        "type": "Feature",
        "id": one.incident_id,
        "geometry": {"type": "Point", "coordinates": [one.long, one.lat]},
        "properties": {
            "public_ref": one.public_ref,
            "title": one.title,
            "category": one.category,
            "severity": one.severity,
            "status": one.status,
            "district": one.district,
            "reported_at": rfc3339(one.reported_at),
            "supporters": one.supporters,
        },
    }


def categories_of(reference: Reference) -> CategoriesAnswer:
    """The city's categories with their questions."""
    return CategoriesAnswer(
        categories=[
            CategoryAnswer(
                code=code,
                name=one.name,
                description=one.description,
                department=one.department,
                days=one.sla.days,
                days_of=one.sla.of,
                sensitive=one.sensitive,
                attributes=[
                    AttributeAnswer(
                        code=name,
                        name=asked.name,
                        type=asked.type,
                        required=asked.required,
                        values=dict(asked.values),
                    )
                    for name, asked in one.attributes.items()
                ],
            )
            for code, one in reference.categories.items()
        ]
    )


def regions_of(reference: Reference) -> RegionsAnswer:
    """The city's regions."""
    return RegionsAnswer(regions=[RegionAnswer(code=code, name=name) for code, name in reference.regions.items()])


def districts_of(reference: Reference) -> DistrictsAnswer:
    """The city's districts with their centres."""
    return DistrictsAnswer(
        districts=[
            DistrictAnswer(code=code, name=one.name, region=one.region, lat=one.centre[0], long=one.centre[1])
            for code, one in reference.districts.items()
        ]
    )


def stats_of(desk: Desk) -> StatsAnswer:
    """Counts of public incidents. Raises NotCountedYet and the errors of the store they are counted in."""
    counted = desk.counter.counts()
    counts = counted.counts
    return StatsAnswer(
        at=counted.at,
        total=sum(one.incidents for one in counts),
        open=sum(one.incidents for one in counts if not Status(one.status).closed),
        by_status=_summed(counts, "status"),
        by_category=_summed(counts, "category"),
        by_district=_summed(counts, "district"),
        by_region=_summed(counts, "region"),
        counts=[_count(one) for one in counts],
    )


def _count(one: Count) -> CountAnswer:
    # There are thousands, all of them the store's own: checking and copying them was two thirds of the answer's cost.
    return CountAnswer.model_construct(
        region=one.region, district=one.district, status=one.status, category=one.category, incidents=one.incidents
    )


def _told(answer: BaseModel, headers: Mapping[str, str]) -> Response:
    return json_response(answer.model_dump(mode="json"), headers=headers)


def _summed(counts: Sequence[Count], name: str) -> dict[str, int]:
    sums: dict[str, int] = {}
    for one in counts:
        sums[getattr(one, name)] = sums.get(getattr(one, name), 0) + one.incidents
    return sums
