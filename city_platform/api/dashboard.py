"""What the city is told of now, as a page for everybody: no login, no script, and nobody to be found by it.

Whatever is shown of an incident is what everybody may see of it, its place on the map no finer than 100 m. The browser
asks again by itself, until its reader wants the page to hold still (WCAG 2.2.2).
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice

from fastapi import APIRouter, Response
from shapely.geometry.base import BaseGeometry

from city_platform.api.answers import StatsAnswer
from city_platform.api.city import stats_of
from city_platform.api.desk import Desk
from city_platform.api.html import html_response, site_page
from city_platform.api.incident_page import SEARCH, STYLE, districts_of, in_words, local
from city_platform.api.incidents import TheDesk, Who
from city_platform.incidents.model import Status
from city_platform.incidents.reference import Reference, cosine
from city_platform.incidents.repository import NotCountedYet
from city_platform.incidents.roles import ANONYMOUS
from city_platform.incidents.views import IncidentView, public_view
from city_platform.incidents.window import Window
from city_platform.pages import escape, table, tiles

PATH = "/dashboard"
DAYS = 7  # of reports that the map and the list look back
_DOTS, _LISTED = 1000, 20
_AGAIN = 30  # seconds until the browser asks again
_FRESH = timedelta(seconds=5)  # what is younger is not made again, however many ask
_GRID = 3  # decimals of a degree: 111 m north to south, 73 m east to west at this latitude
_WIDE = 600  # units of the drawing
_STYLE = (
    STYLE
    + """\
.map { max-width: 44rem; } .map path { fill: var(--area); stroke: var(--line); } .map circle { fill: var(--accent);
  fill-opacity: .75; } .map circle.closed { fill: none; stroke: var(--soft); } meter { width: 8rem; }
td time, .wide th a { white-space: nowrap; }
"""
)


# A count of a status, category or district is a number of rows there, whose provenance stands beside each year's files.
_WHENCE = (
    '<p class="soft">Each of these counts is a number of published reports: '
    '<a href="/open-data#incidents">download them, and see where they come from</a>.</p>'
)


class _Kept:
    """The page as it was made last, for all who ask within some seconds: it reads up to a thousand incidents."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: tuple[datetime, Sequence[str]] | None = None

    def body(self, desk: Desk) -> tuple[datetime, Sequence[str]]:
        """When it was made, and its parts: while somebody makes it anew, the one before. Raises the store's errors."""
        kept = self._made
        if not self._lock.acquire(blocking=kept is None) and kept is not None:
            return kept
        try:
            now = desk.clock.now()
            if self._made is None or not timedelta() <= now - self._made[0] < _FRESH:
                self._made = now, list(_content(desk, now))
            return self._made
        finally:
            self._lock.release()


def router() -> APIRouter:
    """The page at its address; `?refresh=off` gives one that stays as it is."""
    routes = APIRouter(include_in_schema=False)
    kept = _Kept()

    @routes.get(PATH)
    def dashboard(desk: TheDesk, _: Who, refresh: str = "on") -> Response:
        still = refresh == "off"
        again = (
            f'<a href="{PATH}">Renew it again</a>'
            if still
            else f'Renewed every {_AGAIN} s. <a href="{PATH}?refresh=off">Hold still</a>'
        )
        reference = desk.service.reference
        made_at, body = kept.body(desk)
        at = f"{made_at.astimezone(reference.zone):%Y-%m-%d %H:%M:%S %Z}"
        shown = [f'<p class="soft">As of {at}. {again}</p>', *body]
        answer = html_response(site_page(f"Incidents of {reference.city.name}", shown, _STYLE, at=PATH))
        answer.headers["Cache-Control"] = f"public, max-age={_AGAIN // 2}"
        if not still:
            answer.headers["Refresh"] = str(_AGAIN)
        return answer

    return routes


def _content(desk: Desk, now: datetime) -> Iterator[str]:
    reference = desk.service.reference
    window = Window(now - timedelta(days=DAYS), now)
    seen = [public_view(one, reference) for one in islice(desk.service.reported(window, ANONYMOUS), _DOTS)]
    stats = None
    with suppress(NotCountedYet):
        stats = stats_of(desk)
    if stats is not None:
        closed = stats.total - stats.open
        yield tiles([("incidents", f"{stats.total:,}"), ("open", f"{stats.open:,}"), ("closed", f"{closed:,}")])
    yield f"<h2>Reported within {DAYS} days</h2>"
    yield _map(seen, reference)
    yield from _newest(seen[:_LISTED], reference)
    if stats is not None:
        yield '<div class="split">'
        yield from _counts(stats, reference)
        yield "</div>"
        yield _WHENCE
    yield SEARCH


def _counts(stats: StatsAnswer, reference: Reference) -> Iterator[str]:
    names: Mapping[str, tuple[Mapping[str, int], Mapping[str, str]]] = {
        "status": (stats.by_status, {one.value: in_words(one) for one in Status}),
        "category": (stats.by_category, {code: one.name for code, one in reference.categories.items()}),
        "district": (stats.by_district, districts_of(reference)),
    }
    for title, (counts, named) in names.items():
        if not counts:
            continue
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
    named = districts_of(reference)
    kinds = {code: one.name for code, one in reference.categories.items()}
    yield table(
        ("number", "reported", "what", "kind", "where", "status"),
        [
            [
                f'<a href="/incidents/{one.public_ref}">{one.public_ref}</a>',
                local(one.reported_at, reference),
                f"<bdi>{escape(one.title)}</bdi>",
                escape(kinds.get(one.category, one.category)),
                escape(named.get(one.district, one.district)),
                in_words(one.status),
            ]
            for one in seen
        ],
    )
