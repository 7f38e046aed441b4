"""The first page: what there is for people, and what has become of a report whose number somebody has."""

from fastapi import APIRouter, Response

from city_platform.api.html import DANGER, html_response, site_page
from city_platform.api.incident_page import SEARCH, STYLE
from city_platform.api.incidents import TheDesk, Who

PATH = "/"
_LINKS = (
    ("/report", "Report something", "A hole in the road, a lamp that is out, waste: the city deals with it."),
    ("/dashboard", "What was reported", "The newest incidents, where they are, and how many are open."),
    ("/traffic", "Traffic now", "How fast the city moves, zone by zone."),
    ("/open-data", "Open data", "All of it to download."),
)
_STYLE = STYLE + "dt { font-weight: 600; } dd { margin: 0 0 .8rem; }\n"
_FOR_PROGRAMS = (
    '<p class="soft">For programs: <a href="/v1/openapi.json">the interface</a>, '
    '<a href="/open311/v2/discovery.xml">Open311</a>.</p>'
)

router = APIRouter(include_in_schema=False)


@router.get(PATH)
def start(desk: TheDesk, _: Who) -> Response:
    listed = "".join(f'<dt><a href="{path}">{name}</a></dt><dd>{said}</dd>' for path, name, said in _LINKS)
    body = [DANGER, f"<dl>{listed}</dl>", SEARCH, _FOR_PROGRAMS]
    return html_response(site_page(desk.service.reference.city.name, body, _STYLE, at=PATH))
