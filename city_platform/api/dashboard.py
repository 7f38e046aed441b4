"""What the city is told of now, as a page for everybody: no login, no script, and nobody to be found by it.

Whatever is shown of an incident is what everybody may see of it, its place on the map no finer than 100 m. The browser
asks again by itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import islice

from fastapi import APIRouter, Response
from shapely.geometry.base import BaseGeometry

from city_platform.api.answers import StatsAnswer
from city_platform.api.city import stats_of
from city_platform.api.html import html_response
from city_platform.api.incidents import TheDesk, Who
from city_platform.incidents.model import UNLOCATED, Status
from city_platform.incidents.reference import Reference, cosine
from city_platform.incidents.repository import NotCountedYet
from city_platform.incidents.roles import ANONYMOUS
from city_platform.incidents.views import IncidentView, public_view
from city_platform.incidents.window import Window
from city_platform.pages import escape, page, table, tiles

PATH = "/dashboard"
DAYS = 7  # of reports that the map and the list look back
_DOTS, _LISTED = 1000, 20
_AGAIN = 30  # seconds until the browser asks again
_GRID = 3  # decimals of a degree: 111 m north to south, 73 m east to west at this latitude
_WIDE = 600  # units of the drawing
_STYLE = """\
.map { max-width: 44rem; } .map path { fill: var(--area); stroke: var(--line); } .map circle { fill: var(--accent);
  fill-opacity: .6; } .map circle.closed { fill: none; stroke: var(--soft); } meter { width: 8rem; }
"""

router = APIRouter(include_in_schema=False)


@router.get(PATH)
def dashboard(desk: TheDesk, _: Who) -> Response:
    reference, now = desk.service.reference, desk.clock.now()
    window = Window(now - timedelta(days=DAYS), now)
    seen = [public_view(one, reference) for one in islice(desk.service.reported(window, ANONYMOUS), _DOTS)]
    at = f"{now.astimezone(reference.zone):%Y-%m-%d %H:%M:%S %Z}"
    body = [f'<p class="soft">As of {at}; the page asks again every {_AGAIN} seconds.</p>']
    stats = None
    with suppress(NotCountedYet):
        stats = stats_of(desk)
    if stats is not None:
        closed = stats.total - stats.open
        body.append(tiles([("incidents", f"{stats.total:,}"), ("open", f"{stats.open:,}"), ("closed", f"{closed:,}")]))
    body += [f"<h2>Reported within {DAYS} days</h2>", _map(seen, reference), *_newest(seen[:_LISTED], reference)]
    if stats is not None:
        body += ['<div class="split">', *_counts(stats, reference), "</div>"]
    body.append('<p><a href="/report">Report something</a> · <a href="/open-data/data.json">Open data</a></p>')
    answer = html_response(page(f"Incidents of {reference.city.name}", body, _STYLE))
    answer.headers.update({"Refresh": str(_AGAIN), "Cache-Control": f"public, max-age={_AGAIN // 2}"})
    return answer


def _counts(stats: StatsAnswer, reference: Reference) -> Iterator[str]:
    names: Mapping[str, tuple[Mapping[str, int], Mapping[str, str]]] = {
        "status": (stats.by_status, {one.value: one.value.replace("_", " ") for one in Status}),
        "category": (stats.by_category, {code: one.name for code, one in reference.categories.items()}),
        "district": (stats.by_district, _districts(reference)),
    }
    for title, (counts, named) in names.items():
        rows = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
        most = max(counts.values(), default=1)
        yield f"<section><h2>By {title}</h2>"
        yield table(
            (title, "incidents", ""),
            [
                (escape(named.get(code, code)), f"{count:,}", f'<meter max="{most}" value="{count}"></meter>')
                for code, count in rows
            ],
            numeric=(1,),
        )
        yield "</section>"


def _districts(reference: Reference) -> Mapping[str, str]:
    return {code: one.name for code, one in reference.districts.items()} | {UNLOCATED: "not located yet"}


def _map(seen: Sequence[IncidentView], reference: Reference) -> str:
    """The districts and the incidents that have a place; the list below says the same in words."""
    bounds = reference.city.bounds
    scale = _WIDE / (bounds.east - bounds.west)
    stretch = scale / cosine((bounds.north + bounds.south) / 2)  # a degree of latitude is longer than one of longitude
    tall = (bounds.north - bounds.south) * stretch

    def at(long: float, lat: float) -> tuple[str, str]:
        return f"{(long - bounds.west) * scale:.1f}", f"{(bounds.north - lat) * stretch:.1f}"

    def outline(shape: BaseGeometry) -> str:
        rings = [one.exterior.coords for one in getattr(shape, "geoms", [shape])]
        return "".join(f"M{' L'.join(','.join(at(*point[:2])) for point in ring)}Z" for ring in rings)

    areas = "".join(
        f'<path d="{outline(shape)}"><title>{escape(reference.districts[code].name)}</title></path>'
        for code, shape in reference.polygons.items()
    )
    dots = []
    for one in seen:
        if one.lat is None or one.long is None:
            continue
        x, y = at(round(one.long, _GRID), round(one.lat, _GRID))
        kind = " class=closed" if one.status.closed else ""
        dots.append(f'<circle cx="{x}" cy="{y}" r="4"{kind}><title>{escape(one.title)}</title></circle>')
    label = f"A map of {len(dots)} incidents; open ones are filled, closed ones are rings"
    drawn = areas + "".join(dots)
    return f'<svg class="map" viewBox="0 0 {_WIDE} {tall:.0f}" role="img" aria-label="{label}">{drawn}</svg>'


def _newest(seen: Sequence[IncidentView], reference: Reference) -> Iterator[str]:
    if not seen:
        yield "<p>Nothing was reported.</p>"
        return
    named = _districts(reference)
    kinds = {code: one.name for code, one in reference.categories.items()}
    yield table(
        ("number", "reported", "what", "kind", "where", "status"),
        [
            [
                escape(text)
                for text in (
                    one.public_ref,
                    f"{one.reported_at.astimezone(reference.zone):%Y-%m-%d %H:%M %Z}",
                    one.title,
                    kinds.get(one.category, one.category),
                    named.get(one.district, one.district),
                    one.status.value.replace("_", " "),
                )
            ]
            for one in seen
        ],
    )
