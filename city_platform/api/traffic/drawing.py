"""The city as a heat map and an hour as a line, in SVG. What colour says, a letter or a pattern says, too."""

from collections.abc import Sequence
from html import escape

from city_platform.api.traffic.live import City
from city_platform.traffic.congestion import Service
from city_platform.traffic.heat_map import ZoneNow
from city_platform.traffic.history import Step

CELL = 40  # width of a zone
_GAP = 2
_HEIGHT_OF_CELL = 45  # a zone is 587 m by 662 m where the city lies
_MINUTE_S, _HOUR_S = 60, 3600
_LINES = 6  # of a chart's grid

SERVICES: Sequence[tuple[Service, str]] = (
    ("A", "free flow"),
    ("B", "nearly free"),
    ("C", "stable"),
    ("D", "dense"),
    ("E", "unstable"),
    ("F", "breaking down"),
)
STYLE = """\
:root { --a: #dcebe0; --b: #bfdcc8; --c: #f2e2a0; --d: #eebb68; --e: #e08a52; --f: #a8322a; --on: #1b1f24; --onf: #fff;
  --none: #eef0f3; }
@media (prefers-color-scheme: dark) { :root { --a: #1f3a2d; --b: #2a5340; --c: #6a5a1e; --d: #8a5a1c; --e: #a44e22;
  --f: #e0604f; --on: #f2f4f6; --onf: #14181d; --none: #232a32; } }
svg.map text { font: 600 15px system-ui, sans-serif; text-anchor: middle; fill: var(--on); pointer-events: none; }
svg.map .F text, .swatch .F text { fill: var(--onf); } svg.map .A text, svg.map .B text { font-weight: 400; }
svg.map .old text, svg.map .unknown text, svg.map .none text { fill: var(--soft);
  font-weight: 400; font-size: 13px; }
.map .A rect.z { fill: var(--a); } .map .B rect.z { fill: var(--b); } .map .C rect.z { fill: var(--c); }
.map .D rect.z { fill: var(--d); } .map .E rect.z { fill: var(--e); } .map .F rect.z { fill: var(--f); }
.map .old rect.z, .map .none rect.z, .map .unknown rect.z { fill: var(--none); }
.map .old rect.z { stroke: var(--soft); stroke-dasharray: 4 3; } .map rect.p { pointer-events: none; }
.map .C rect.p { fill: url(#single); }
.map .D rect.p { fill: url(#sparse); } .map .E rect.p { fill: url(#dense); } .map .F rect.p { fill: url(#crossed); }
.map .unknown rect.p { fill: url(#dotted); } .map pattern path { stroke: var(--on); stroke-opacity: .28; fill: none; }
.map #crossed path { stroke: var(--onf); stroke-opacity: .45; } .map pattern circle { fill: var(--soft); }
.map a:hover rect.z, .map a:focus rect.z { stroke: var(--ink); stroke-width: 3; stroke-dasharray: none; }
@media (max-width: 40rem) { svg.map.city text { display: none; } svg.chart { overflow: visible; }
  svg.chart text { font-size: 22px; } }
.chart .free { stroke: var(--soft); stroke-dasharray: 6 4; } .chart .speed { fill: none; stroke: var(--accent);
  stroke-width: 2.5; stroke-linejoin: round; stroke-linecap: round; } .chart circle { fill: var(--accent); }
.chart text.e { text-anchor: end; } .chart text.m { text-anchor: middle; }
"""
_PATTERNS = (
    "<defs>"
    '<pattern id="single" width="40" height="45" patternUnits="userSpaceOnUse"><path d="M6 35H32"/></pattern>'
    '<pattern id="sparse" width="12" height="12" patternUnits="userSpaceOnUse"><path d="M-3 15L15 -3"/></pattern>'
    '<pattern id="dense" width="6" height="6" patternUnits="userSpaceOnUse"><path d="M-2 8L8 -2"/></pattern>'
    '<pattern id="crossed" width="8" height="8" patternUnits="userSpaceOnUse"><path d="M-2 10L10 -2M-2 -2L10 10"/>'
    "</pattern>"
    '<pattern id="dotted" width="10" height="10" patternUnits="userSpaceOnUse"><circle cx="5" cy="5" r="1.2"/>'
    "</pattern></defs>"
)


def city_map(city: City) -> str:
    """Every zone as a cell with its letter, the worst ones patterned. Zones are links for a pointer; for a keyboard
    they are in the lists beside it.
    """
    roads = city.roads
    west, north = float(roads.west.min()), float(roads.south.max())
    cells, right, bottom = [], CELL, _HEIGHT_OF_CELL
    for place, name in enumerate(roads.registry.zones):
        x = round((float(roads.west[place]) - west) / roads.width) * CELL
        y = round((north - float(roads.south[place])) / roads.height) * _HEIGHT_OF_CELL
        right, bottom = max(right, x + CELL), max(bottom, y + _HEIGHT_OF_CELL)
        kind, letter, said = look(city.by_zone.get(name), city.at_ms)
        cells.append(
            f'<a href="/traffic/zones/{escape(name)}" tabindex="-1" class="{kind}">'
            f"{_cell(x, y, kind, letter)}<title>{escape(name)}: {escape(said)}</title></a>"
        )
    return (
        f'<svg class="map city" viewBox="0 0 {right - _GAP} {bottom - _GAP}" role="img" '
        f'aria-label="{escape(_summary(city))}">{_PATTERNS}{"".join(cells)}</svg>'
    )


def look(zone: ZoneNow | None, at_ms: int) -> tuple[str, str, str]:
    """How a zone is shown: the class of its cell, the letter in it, and the same in words."""
    if zone is None:
        return "none", "", "nothing heard"
    if zone.old(at_ms):
        return "old", span(zone.age_s(at_ms)), f"not heard for {span(zone.age_s(at_ms))}"
    if not zone.known or zone.figures.service is None or zone.figures.speed_kmh is None:
        return "unknown", "?", f"too little is heard to say: {zone.figures.coverage:.0%} of its sensors"
    service = zone.figures.service
    said = f"{service}, {dict(SERVICES)[service]}, {zone.figures.speed_kmh:.0f} km/h, {zone.level}"
    return service, service, said


def swatch(kind: str, letter: str) -> str:
    """A cell of the map for its legend; the words stand beside it."""
    return (
        f'<svg class="map swatch" viewBox="0 0 {CELL} {_HEIGHT_OF_CELL}" aria-hidden="true">'
        f'<g class="{kind}">{_cell(0, 0, kind, letter)}</g></svg>'
    )


def span(seconds: float) -> str:
    """`45 s`, `4 min`, `3 h`."""
    if seconds < 2 * _MINUTE_S:
        return f"{seconds:.0f} s"
    return f"{seconds / _MINUTE_S:.0f} min" if seconds < 2 * _HOUR_S else f"{seconds / _HOUR_S:.0f} h"


def line_chart(
    label: str,
    steps: Sequence[Step],
    start_ms: int,
    end_ms: int,
    free_flow_kmh: float,
    ticks: Sequence[tuple[int, str]],
) -> str:
    """Speed over time, with a dashed line at free flow; where a step is missing, so is the line. `ticks` are moments
    with their texts; `label` says in words what there is to see.
    """
    width, height, left, top = 760, 220, 44, 12
    points = [(one.start_ms, one.end_ms, one.figures.speed_kmh) for one in steps]
    highest = max([free_flow_kmh, *(speed for *_, speed in points if speed is not None)]) * 1.1
    between = next(one for one in (5, 10, 20, 50) if highest <= _LINES * one or one == 50)  # noqa: PLR2004 -- km/h
    highest = max(between, -(-highest // between) * between)

    def x(ms: float) -> float:
        return left + (width - left - 8) * (ms - start_ms) / max(1, end_ms - start_ms)

    def y(speed: float) -> float:
        return top + height * (1 - speed / highest)

    lines: list[list[str]] = []
    before: int | None = None
    for at, until, speed in points:
        if speed is None:
            continue
        if before != at:
            lines.append([])
        lines[-1].append(f"{x((at + until) / 2):.1f},{y(speed):.1f}")
        before = until
    grid = "".join(
        f'<line x1="{left}" x2="{width - 8}" y1="{y(speed):.1f}" y2="{y(speed):.1f}"/>'
        f'<text class="e" x="{left - 8}" y="{y(speed) + 4:.1f}">{speed:.0f}</text>'
        for speed in range(0, int(highest) + 1, between)
    )
    below = "".join(
        f'<text class="m" x="{x(at):.1f}" y="{top + height + 20}">{escape(text)}</text>' for at, text in ticks
    )
    drawn = "".join(
        f'<polyline class="speed" points="{" ".join(line)}"/>'
        if len(line) > 1
        else '<circle cx="{}" cy="{}" r="3"/>'.format(*line[0].split(","))
        for line in lines
    )
    free = (
        f'<line class="free" x1="{left}" x2="{width - 8}" y1="{y(free_flow_kmh):.1f}" y2="{y(free_flow_kmh):.1f}"/>'
        f'<text class="e" x="{width - 8}" y="{y(free_flow_kmh) - 6:.1f}">free flow {free_flow_kmh:.0f} km/h</text>'
    )
    return (
        f'<svg class="chart" viewBox="0 0 {width} {top + height + 28}" role="img" aria-label="{escape(label)}">'
        f"{grid}{free}{drawn}{below}</svg>"
    )


def _cell(x: int, y: int, kind: str, letter: str) -> str:
    size = f'x="{x}" y="{y}" width="{CELL - _GAP}" height="{_HEIGHT_OF_CELL - _GAP}" rx="4"'
    patterned = f'<rect class="p" {size}/>' if kind in {"C", "D", "E", "F", "unknown"} else ""
    middle = f'x="{x + CELL // 2 - 1}" y="{y + _HEIGHT_OF_CELL // 2 + 4}"'
    text = f"<text {middle}>{escape(letter)}</text>" if letter else ""
    return f'<rect class="z" {size}/>{patterned}{text}'


def _summary(city: City) -> str:
    kinds = [look(city.by_zone.get(name), city.at_ms)[0] for name in city.roads.registry.zones]
    parts = [f"{kinds.count(service)} {service} ({said})" for service, said in SERVICES if kinds.count(service)]
    others = [
        f"{kinds.count(kind)} {said}"
        for kind, said in (("unknown", "unknown"), ("old", "old"), ("none", "without data"))
        if kinds.count(kind)
    ]
    return f"Map of {len(kinds)} zones by level of service: {', '.join(parts + others)}"
