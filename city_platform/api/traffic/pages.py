"""`/traffic`: the city's traffic as pages that renew themselves, with a script or without one."""

from collections.abc import Mapping, Sequence

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from city_platform.api.incidents import Who
from city_platform.api.traffic import drawing
from city_platform.api.traffic.frame import HEADERS, PATH, RENEW_S, framed
from city_platform.api.traffic.live import City, Status
from city_platform.api.traffic.past import NONE, Span, chart, local, number, past_page, source, ways
from city_platform.api.traffic.routes import Traffic, ZoneId, respond
from city_platform.incidents.reference import Reference
from city_platform.pages import escape, table, tiles
from city_platform.traffic.congestion import LEVELS, MINUTE_MS, Level
from city_platform.traffic.heat_map import ZoneNow
from city_platform.traffic.history import History, Resolution
from city_platform.traffic.hour_sums import HOUR_MS
from city_platform.traffic.registry import sensor_id
from city_platform.traffic.zone_detail import SensorNow

_WORST = 12
_TICK_MS = 600_000
_EXPLAINED = (
    "Speed in km/h, the harmonic mean of the vehicles. Index: 0 at free flow, 100 where nothing moves; "
    "slow from 30, congested from 50, severe from 70. Heard: the share of sensors, and how old the newest reading is."
)
_WATCHED = "Levels are decided once a minute, so that they do not flap."
_UNWATCHED = "Nobody decides on levels at present: they are those of the index alone."
_FOR_PROGRAMS = (
    '<p class="soft">For programs: <a href="/traffic/v1/map.geojson">map.geojson</a>, described at '
    '<a href="/v1/openapi.json">openapi.json</a>.</p>'
)
_HTML = "text/html; charset=utf-8"


def pages(traffic: Traffic, reference: Reference) -> APIRouter:
    """The pages at their addresses; `?refresh=off` gives one that stays as it is."""
    routes = APIRouter(include_in_schema=False)
    live = traffic.live

    @routes.get(PATH)
    def whole(request: Request, _: Who, refresh: str = "on") -> Response:
        city = live.city()
        still = refresh == "off"
        return respond(
            request,
            city.answer(f"page {still}", lambda: city_page(city, reference, still=still).encode()),
            _HTML,
            HEADERS,
        )

    @routes.get(PATH + "/zones/{zone}")
    def one_zone(request: Request, zone: ZoneId, _: Who, refresh: str = "on") -> Response:
        city = live.city()
        still = refresh == "off"
        place = city.roads.registry.zone_index.get(zone)
        if place is None:
            return HTMLResponse(_no_zone(zone), 404, HEADERS)

        def made() -> bytes:
            end = city.at_ms
            start = (end - HOUR_MS) // MINUTE_MS * MINUTE_MS
            history = traffic.past(city, place, start, end, Resolution.MINUTE)
            return _zone(city, place, history, traffic.latest(city, place), reference, still=still).encode()

        return respond(request, city.answer(f"page {zone} {still}", made), _HTML, HEADERS)

    @routes.get(PATH + "/zones/{zone}/{span}")
    def past(request: Request, zone: ZoneId, span: Span, _: Who) -> Response:
        city = live.city()
        place = city.roads.registry.zone_index.get(zone)
        if place is None:
            return HTMLResponse(_no_zone(zone), 404, HEADERS)

        def made() -> bytes:
            history = traffic.past(city, place, span.start_ms(city.at_ms, reference), city.at_ms, span.resolution)
            return past_page(city, place, history, span, reference).encode()

        return respond(request, city.answer(f"page {zone} {span}", made), _HTML, HEADERS)

    return routes


def city_page(city: City, reference: Reference, *, still: bool) -> str:
    """The whole city as one page; `still` for one that does not renew itself."""
    shown = {name: drawing.look(city.by_zone.get(name), city.at_ms) for name in city.roads.registry.zones}
    known = [one for one in city.zones if one.known and not one.old(city.at_ms)]
    worst = sorted(known, key=lambda one: (-(one.figures.index or 0.0), one.zone))[:_WORST]
    counts = [(level, sum(one.level is level for one in known)) for level in reversed(Level)]
    body = [
        *_now(city, reference, PATH, still=still),
        tiles(
            [
                *((level.capitalize(), str(count)) for level, count in counts),
                ("Unknown, old or silent", str(len(shown) - len(known))),
                ("Sensors heard", f"{city.coverage:.0%}"),
            ]
        ),
        '<div class="two"><section id="map" aria-labelledby="map-title">',
        '<h2 id="map-title">Zones by level of service</h2>',
        drawing.city_map(city),
        _legend([kind for kind, _, _ in shown.values()]),
        '</section><section id="worst" aria-labelledby="worst-title"><h2 id="worst-title">Slowest now</h2>',
        table(
            ("Zone", "Level", "Since", "Speed", "Index", "Heard"),
            [_row(one, city.at_ms, reference) for one in worst],
            numeric=(2, 3, 4, 5),
        )
        if worst
        else "<p>No zone can be told to be slow or not.</p>",
        *_alerts(city, reference),
        f"<p class=soft>{_EXPLAINED} {_WATCHED if city.watched else _UNWATCHED}</p>",
        "</section></div>",
        '<details id="all"><summary>All zones</summary><ul class="zones">',
        *(
            f"<li>{_link(name)} {escape(_short(kind, city.by_zone.get(name)))}</li>"
            for name, (kind, _, _) in shown.items()
        ),
        "</ul></details>",
        _FOR_PROGRAMS,
    ]
    return framed("Traffic now", body, still=still)


def _zone(
    city: City,
    place: int,
    history: History,
    latest: Mapping[int, SensorNow],
    reference: Reference,
    *,
    still: bool,
) -> str:
    roads = city.roads
    name = roads.registry.zones[place]
    one = city.by_zone.get(name)
    beside = sorted(
        {
            roads.registry.zones[end]
            for start, end in zip(roads.start.tolist(), roads.end.tolist(), strict=True)
            if start == place != end
        }
    )
    body = [
        f'<p><a href="{PATH}">All of the city</a></p>',
        ways(name),
        *_now(city, reference, f"{PATH}/zones/{name}", still=still),
        tiles(_figures(city, place, one)),
        '<section id="hour" aria-labelledby="hour-title"><h2 id="hour-title">The last hour</h2>',
        _hour(history, reference),
        "</section>",
        "<p>Next to it: "
        + ", ".join(f'<a href="{PATH}/zones/{escape(zone)}">{escape(zone)}</a>' for zone in beside)
        + ".</p>",
        '<details id="numbers"><summary>The hour in numbers</summary>',
        table(
            ("Minute", "Speed", "Index", "Service", "Vehicles", "Readings", "From"),
            [
                (
                    f"{local(step.start_ms, reference):%H:%M}",
                    number(step.figures.speed_kmh),
                    number(step.figures.index),
                    step.figures.service or NONE,
                    f"{step.figures.vehicles:,}",
                    f"{step.readings:,}",
                    source(step),
                )
                for step in reversed(history.steps)
            ],
            numeric=(1, 2, 4, 5),
        ),
        "</details>",
        *_sensors(city, place, latest),
    ]
    return framed(f"Zone {name}", body, still=still)


def _now(city: City, reference: Reference, path: str, *, still: bool) -> Sequence[str]:
    """When this is from, whether it is of now, and how to stop it from changing."""
    at = local(city.at_ms, reference)
    notes = {
        Status.LIVE: "",
        Status.OLD: f"Nothing new has been heard for {drawing.span(city.age_s or 0)}: this is how it was then.",
        Status.EMPTY: "Nothing has been heard in the last minutes.",
        Status.NONE: "No traffic runs here: no sensor's reading has been counted yet.",
    }
    failing = "The store of traffic does not answer; what you see was read before." if city.failing else ""
    degraded = (
        "Many of the city's sensors fell silent at once: their readings do not get here." if city.degraded else ""
    )
    newest = "" if city.age_s is None else f" Newest reading {drawing.span(city.age_s)} old."
    renewed = (
        f'<a id="still" href="{path}">Renew it again</a>'
        if still
        else f'Renewed every {RENEW_S} s. <a href="{path}?refresh=off">Hold still</a>'
    )
    said = [
        f'<p class="note"><strong>{escape(one)}</strong></p>' for one in (notes[city.status], failing, degraded) if one
    ]
    clock = f'<time id="at" datetime="{at.isoformat(timespec="seconds")}">{at:%H:%M:%S %Z}</time>'
    return [
        f'<p class="now soft">{escape(reference.city.name)}, {clock}.{newest} {renewed}</p>',
        '<p class="note" id="lost" role="status" hidden></p>',
        *said,
    ]


def _alerts(city: City, reference: Reference) -> Sequence[str]:
    """What people were told and what stands, the worst first, then the newest."""
    if not city.alerts:
        return []
    standing = sorted(city.alerts.items(), key=lambda one: (-LEVELS.index(one[1].told), -one[1].since_ms, one[0]))
    listed = [
        f"<li>{_link(zone)}: <span class=level>{one.told}</span> since {local(one.since_ms, reference):%H:%M}</li>"
        for zone, one in standing[:_WORST]
    ]
    more = f"<p class=soft>and {len(standing) - _WORST} more</p>" if len(standing) > _WORST else ""
    return [f"<h2>Alerts that stand</h2><ul>{''.join(listed)}</ul>{more}"]


def _legend(kinds: Sequence[str]) -> str:
    listed: list[tuple[str, str, str]] = [(service, service, f"{service} {said}") for service, said in drawing.SERVICES]
    listed += [
        ("unknown", "?", "too little heard"),
        ("old", "9 s", "old, with its age"),
        ("none", "", "nothing heard"),
    ]
    items = "".join(
        f"<li>{drawing.swatch(kind, letter)}<span>{escape(said)}: {kinds.count(kind)}</span></li>"
        for kind, letter, said in listed
    )
    return f'<ul class="legend">{items}</ul>'


def _row(one: ZoneNow, at_ms: int, reference: Reference) -> Sequence[str]:
    service = one.figures.service or NONE
    since = f"{local(one.since_ms, reference):%H:%M}" if one.since_ms else NONE
    return (
        _link(one.zone),
        f'<span class="level">{one.level}</span> ({service})',
        since,
        number(one.figures.speed_kmh),
        number(one.figures.index),
        f"{one.figures.coverage:.0%}, {drawing.span(one.age_s(at_ms))}",
    )


def _short(kind: str, one: ZoneNow | None) -> str:
    speed = one.figures.speed_kmh if one else None
    return f"{kind}, {speed:.0f} km/h" if speed is not None and len(kind) == 1 else kind.replace("none", "silent")


def _figures(city: City, place: int, one: ZoneNow | None) -> Sequence[tuple[str, str]]:
    free_flow = ("Free flow", f"{city.free_flow_x10(place) / 10:.0f} km/h")
    if one is None:
        return [("Level", "nothing heard"), free_flow]
    told = one.figures
    age = ("Newest reading", f"{drawing.span(one.age_s(city.at_ms))} old")
    heard = ("Sensors heard", f"{told.coverage:.0%}")
    if not one.known:
        return [("Level", "unknown"), heard, age, free_flow]
    window = "whole" if one.final else "still open"
    return [
        ("Level" if not one.old(city.at_ms) else "Level then", str(one.level)),
        ("Level of service", str(told.service)),
        ("Speed", f"{number(told.speed_kmh)} km/h"),
        free_flow,
        ("Index", number(told.index)),
        ("Travel time index", f"{told.tti:.2f}" if told.tti is not None else NONE),
        ("Vehicles an hour", f"{one.vehicles_per_hour:,}"),
        heard,
        age,
        ("Its ten seconds", window),
    ]


def _hour(history: History, reference: Reference) -> str:
    first = -(-history.start_ms // _TICK_MS) * _TICK_MS
    ticks = [(at, f"{local(at, reference):%H:%M}") for at in range(first, history.end_ms + 1, _TICK_MS)]
    return chart(history, "minute", ticks)


def _sensors(city: City, place: int, latest: Mapping[int, SensorNow]) -> Sequence[str]:
    """The latest reading of each sensor; folded, because on a telephone a hundred of them are twenty screens."""
    roads = city.roads
    own = roads.registry.sensors(place)
    rows = []
    for index in range(own.start, own.stop):
        own_number = int(roads.registry.number[index])
        read = latest.get(own_number)
        segment = roads.segment_id(int(roads.sensor_segment[index]))
        said = [NONE] * 4
        if read is not None:
            said = [
                drawing.span(max(0.0, (city.at_ms - read.measured_ms) / 1000)),
                str(read.vehicles),
                number(read.speed_x10 / 10 if read.speed_x10 >= 0 else None),
                f"{read.occupancy_x1000 / 1000:.0%}" if read.occupancy_x1000 >= 0 else NONE,
            ]
        rows.append((
            f'<a href="/traffic/v1/sensors/{sensor_id(own_number)}">{sensor_id(own_number)}</a>',
            escape(segment.replace(">", " to ")),
            "heard" if read is not None else "not heard",
            *said,
        ))  # fmt: skip
    heard = sum(int(roads.registry.number[index]) in latest for index in range(own.start, own.stop))
    return [
        f'<details id="sensors"><summary>{heard} of {len(rows)} sensors heard within the last minute</summary>',
        table(("Sensor", "Segment", "State", "Age", "Vehicles", "Speed", "Occupancy"), rows, numeric=(3, 4, 5, 6)),
        "</details>",
    ]


def _no_zone(zone: str) -> str:
    body = [f"<p>There is no zone {escape(zone)}.</p>", f'<p><a href="{PATH}">All of the city</a></p>']
    return framed("No such zone", body, still=True)


def _link(zone: str) -> str:
    return f'<a href="{PATH}/zones/{escape(zone)}">{escape(zone)}</a>'
