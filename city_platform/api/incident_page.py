"""What everybody may see of one incident, as a page: how it stands, and what was done about it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from fastapi import APIRouter, Response
from fastapi.responses import RedirectResponse

from city_platform.api.html import html_response, problem_page, site_page
from city_platform.api.incidents import TheDesk, Who
from city_platform.api.problems import Problem
from city_platform.crossing.episodes import CITY
from city_platform.crossing.related import How, zones_of
from city_platform.incidents.model import UNLOCATED, HistoryEntry
from city_platform.incidents.reference import Reference
from city_platform.incidents.roles import ANONYMOUS
from city_platform.incidents.service import IncidentNotFound
from city_platform.incidents.views import IncidentView, public_view
from city_platform.pages import escape

PATH = "/incidents"
_ZONES = 12  # that a page names
STYLE = """\
form.search { margin: 1.5rem 0; } .search label { display: block; font-weight: 600; }
.search p { margin: .1rem 0 .3rem; } .search div { display: flex; flex-wrap: wrap; gap: .5rem; }
.search input { font: inherit;
  color: inherit; background: var(--page); border: 1px solid var(--soft); border-radius: .3rem; padding: .5rem .6rem;
  width: 15rem; max-width: 100%; } .search button { font: inherit; font-weight: 600; color: var(--page);
  background: var(--accent); border: 1px solid var(--accent); border-radius: .3rem; padding: .5rem 1rem;
  cursor: pointer; } .facts { display: grid; grid-template-columns: minmax(6rem, auto) 1fr; gap: .3rem 1rem;
  max-width: 48rem; } .facts dt { color: var(--soft); } .facts dd { margin: 0; overflow-wrap: anywhere; }
.said { white-space: pre-line; overflow-wrap: anywhere; } ol.past { padding-left: 1.2rem; }
"""
SEARCH = (
    f'<form class="search" action="{PATH}"><label for="number">Number of a report</label>'
    '<p class="soft" id="number-hint">Such as VAN-2026-7K3MQ9</p>'
    '<div><input id="number" name="number" required maxlength="40" autocomplete="off" aria-describedby="number-hint">'
    "<button>Look it up</button></div></form>"
)

router = APIRouter(include_in_schema=False)


@router.get(PATH)
def look_up(_: Who, number: str = "") -> Response:
    """Leads to the page of the number that somebody has typed."""
    return RedirectResponse(f"{PATH}/{re.sub('[^0-9A-Za-z-]', '', number)[:40] or '-'}", 303)


@router.get(PATH + "/{name}")
def incident(name: str, desk: TheDesk, _: Who) -> Response:
    try:
        found = desk.service.find(name, ANONYMOUS)
    except IncidentNotFound:
        said = "No report has this number, or not everybody may see it. A number looks like VAN-2026-7K3MQ9."
        return problem_page(Problem(404, "not-found", said), more=SEARCH, style=STYLE)
    reference = desk.service.reference
    shown = public_view(found, reference)
    body = [
        f'<dl class="facts">{"".join(_facts(shown, reference))}</dl>',
        *_traffic(zones_of(found.incident_id, desk.related())),
        f'<p>It repeats <a href="{PATH}/{shown.duplicate_of}">another one</a>.</p>' if shown.duplicate_of else "",
        f'<p class="said" dir="auto">{escape(shown.description)}</p>' if shown.description else "",
        *(f'<p><a href="{one.url}">Picture {place}</a></p>' for place, one in enumerate(shown.media, 1)),
        "<h2>What was done</h2>",
        f'<ol class="past">{"".join(_past(desk.service.history(found.incident_id, ANONYMOUS), reference))}</ol>',
        SEARCH,
    ]
    return html_response(site_page(shown.title, body, STYLE))


def in_words(code: str) -> str:
    """A status or a resolution for people."""
    return code.replace("_", " ")


def districts_of(reference: Reference) -> Mapping[str, str]:
    """The districts' names by their codes, with the one of what has no place yet."""
    return {code: one.name for code, one in reference.districts.items()} | {UNLOCATED: "not located yet"}


def local(time: datetime, reference: Reference) -> str:
    """A time for people, in the city's zone, which it names; as HTML."""
    there = time.astimezone(reference.zone)
    return f'<time datetime="{there.isoformat(timespec="seconds")}">{there:%Y-%m-%d %H:%M %Z}</time>'


def _facts(shown: IncidentView, reference: Reference) -> Iterator[str]:
    category = reference.categories.get(shown.category)
    status = in_words(shown.status)
    given: Sequence[tuple[str, str | None]] = (
        ("Number", escape(shown.public_ref)),
        ("Status", f"{status}, {in_words(shown.resolution)}" if shown.resolution else status),
        ("Kind", escape(category.name if category else shown.category)),
        ("District", escape(districts_of(reference).get(shown.district, shown.district))),
        ("Address", f"<bdi>{escape(shown.address)}</bdi>" if shown.address else None),
        ("Reported", local(shown.reported_at, reference)),
        ("Expected by", local(shown.expected_at, reference) if shown.expected_at and not shown.closed_at else None),
        ("Closed", local(shown.closed_at, reference) if shown.closed_at else None),
        ("Seen by", f"{shown.supporters:,} more" if shown.supporters else None),
        ("Still there", f"say {shown.still_there:,}" if shown.still_there else None),
    )
    return (f"<dt>{name}</dt><dd>{said}</dd>" for name, said in given if said)


def _traffic(zones: Sequence[tuple[str, How]]) -> Iterator[str]:
    """What the incident has to do with the city's traffic."""
    said = {"explains": "It explains what traffic shows in", "opened": "Sensors of traffic have opened it for"}
    for how, words in said.items():
        places = [_place(zone) for zone, what in zones if what == how]
        if places:
            more = f" and {len(places) - _ZONES} more" if len(places) > _ZONES else ""
            yield f"<p>{words} {', '.join(places[:_ZONES])}{more}.</p>"


def _place(zone: str) -> str:
    if zone == CITY:
        return '<a href="/traffic">many zones of the city</a>'
    return f'<a href="/traffic/zones/{escape(zone)}">zone {escape(zone)}</a>'


def _past(history: Sequence[HistoryEntry], reference: Reference) -> Iterator[str]:
    for one in history:
        moved = one.from_status != one.to_status
        said = in_words(one.to_status) if moved else "note"
        note = f'<p class="said" dir="auto">{escape(one.note)}</p>' if one.note else ""
        yield f"<li>{local(one.at, reference)}: {said}{note}</li>"
