"""A zone's past as a page: a line of speeds, the same in words, and every step in numbers."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from city_platform.api.traffic import drawing
from city_platform.api.traffic.frame import PATH, framed
from city_platform.api.traffic.live import City
from city_platform.incidents.reference import Reference
from city_platform.pages import escape, table
from city_platform.traffic.history import History, Resolution, Source, Step

NONE = "\N{EN DASH}"
_EXPLAINED = (
    "Minutes are those of each level, by the index alone; a minute in which too little was heard is unknown. Heard is "
    "the share of the sensors' tens of seconds. Hours are corrected when they are over, and again when readings came "
    "late."
)
_WEEK, _MONTH = timedelta(days=7), timedelta(days=30)
_SOURCES = {Source.LAKE: "lake, corrected", Source.STATE: "live windows", Source.MIXED: "lake and live windows"}


class Span(StrEnum):
    """What of its past a zone's page may show beside the last hour."""

    WEEK = "week"
    MONTH = "month"

    @property
    def resolution(self) -> Resolution:
        return Resolution.HOUR if self is Span.WEEK else Resolution.DAY

    def start_ms(self, at_ms: int, reference: Reference) -> int:
        """The midnight of the city, a week or thirty days ago, from which on it is shown."""
        length = _WEEK if self is Span.WEEK else _MONTH
        return _midnight_ms((local(at_ms, reference) - length).date(), reference)


def past_page(city: City, place: int, history: History, span: Span, reference: Reference) -> str:
    """The zone's last week by the hour, or its last month by the day. The page stays as it is."""
    name = city.roads.registry.zones[place]
    at = local(city.at_ms, reference)
    clock = f'<time id="at" datetime="{at.isoformat(timespec="seconds")}">{at:%Y-%m-%d %H:%M %Z}</time>'
    by = "hour" if span is Span.WEEK else "day"
    ticks = _midnights(history, reference, 1 if span is Span.WEEK else 5)
    programs = (
        f"/traffic/v1/zones/{escape(name)}/history?resolution={by}&amp;format=csv&amp;from={_written(history.start_ms)}"
    )
    body = [
        f'<p><a href="{PATH}">All of the city</a></p>',
        ways(name, span),
        f'<p class="now soft">{escape(reference.city.name)}, {clock}.</p>',
        f'<section id="{span}" aria-labelledby="{span}-title"><h2 id="{span}-title">The last {span}</h2>',
        chart(history, by, ticks),
        "</section>",
        f"<details id=numbers{'' if span is Span.WEEK else ' open'}><summary>The {span} in numbers</summary>",
        table(
            (by.capitalize(), "Speed", "Index", "Service", "Vehicles", "Heard", *_MINUTES, "From"),
            [_row(step, span, reference) for step in reversed(history.steps)],
            numeric=(1, 2, *range(4, 6 + len(_MINUTES))),
        ),
        f'<p class="soft">{_EXPLAINED}</p></details>',
        f'<p class="soft">For programs: <a href="{programs}">the same as CSV</a>.</p>',
    ]
    return framed(f"Zone {name}: the last {span}", body, still=True)


def ways(zone: str, shown: Span | None = None) -> str:
    """Links to the zone's hour, week and month; the one that is shown is named as such."""
    address = f"{PATH}/zones/{escape(zone)}"
    places: list[tuple[Span | None, str, str]] = [(None, address, "Now and the last hour")]
    places += [(one, f"{address}/{one}", f"The last {one}") for one in Span]
    listed = "".join(
        f'<li><a href="{href}"{" aria-current=page" if one is shown else ""}>{said}</a></li>'
        for one, href, said in places
    )
    return f'<nav aria-label="Time"><ul>{listed}</ul></nav>'


def chart(history: History, by: str, ticks: Sequence[tuple[int, str]]) -> str:
    """Speeds as a line, and what there is to see in words; `by` is the name of a step."""
    speeds = [step.figures.speed_kmh for step in history.steps if step.figures.speed_kmh is not None]
    if not speeds:
        return "<p>Nothing was heard of it in this time.</p>"
    label = (
        f"Mean speed by the {by}: {min(speeds):.0f} to {max(speeds):.0f} km/h, {speeds[-1]:.0f} at the end; "
        f"free flow is {history.free_flow_x10 / 10:.0f} km/h"
    )
    drawn = drawing.line_chart(
        label, history.steps, history.start_ms, history.end_ms, history.free_flow_x10 / 10, ticks
    )
    return drawn + f'<p class="soft">{escape(label)}.</p>'


def source(step: Step) -> str:
    """Where a step was read, in words."""
    return _SOURCES[step.source]


def local(epoch_ms: int, reference: Reference) -> datetime:
    """A moment by the city's clock."""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).astimezone(reference.zone)


def number(value: float | None) -> str:
    """With one digit behind the point, or a dash."""
    return NONE if value is None else f"{value:.1f}"


_MINUTES = ("Normal min", "Slow min", "Congested min", "Severe min", "Unknown min")


def _row(step: Step, span: Span, reference: Reference) -> Sequence[str]:
    minutes = step.minutes
    at = local(step.start_ms, reference)
    counts = (
        [f"{one:,}" for one in (minutes.normal, minutes.slow, minutes.congested, minutes.severe, minutes.unknown)]
        if minutes
        else [NONE] * len(_MINUTES)
    )
    return (
        # The zone of the clock, because in autumn one hour comes twice.
        f"{at:%a %Y-%m-%d %H:%M %Z}" if span is Span.WEEK else f"{at:%a %Y-%m-%d}",
        number(step.figures.speed_kmh),
        number(step.figures.index),
        step.figures.service or NONE,
        f"{step.figures.vehicles:,}",
        f"{step.figures.coverage:.0%}",
        *counts,
        source(step),
    )


def _midnights(history: History, reference: Reference, every: int) -> list[tuple[int, str]]:
    first = local(history.start_ms, reference).date()
    days = (local(history.end_ms, reference).date() - first).days
    dates = [first + timedelta(days=one) for one in range(0, days + 1, every)]
    return [(_midnight_ms(one, reference), f"{one:%a} {one.day}") for one in dates]


def _midnight_ms(day: date, reference: Reference) -> int:
    return int(datetime.combine(day, time(), reference.zone).timestamp() * 1000)


def _written(epoch_ms: int) -> str:
    return f"{datetime.fromtimestamp(epoch_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
