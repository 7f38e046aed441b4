"""Pages as answers: what all of this site's pages share, and what a browser may load and run for them."""

import base64
import hashlib
from collections.abc import Iterable
from http import HTTPStatus

from fastapi import Response
from fastapi.responses import HTMLResponse
from starlette.datastructures import Headers
from starlette.types import Scope

from city_platform.api.problems import Problem
from city_platform.pages import escape, page

DANGER = '<p class="note">If somebody is in danger, call 9-1-1.</p>'
_PLACES = (
    ("/", "Start"),
    ("/report", "Report"),
    ("/dashboard", "Incidents"),
    ("/traffic", "Traffic"),
    ("/open-data", "Open data"),
)
STYLE = """\
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; padding: 0; margin: 0 0 1rem; }
nav a { display: inline-block; padding: .3rem 0; } nav a[aria-current] { color: var(--ink); font-weight: 600; }
"""


def site_page(title: str, body: Iterable[str], style: str = "", head: str = "", *, at: str = "") -> str:
    """A page of this site, with the way to its other ones; `at` is the address of the one of them that it is."""
    listed = "".join(
        f'<li><a href="{path}"{" aria-current=page" if path == at else ""}>{name}</a></li>' for path, name in _PLACES
    )
    return page(title, body, STYLE + style, head, f'<nav aria-label="This site"><ul>{listed}</ul></nav>')


def html_response(text: str, status: int = 200) -> Response:
    """A page under a policy that allows its own style, its own script if it has one, and forms of this site."""
    script = hash_of(text, "script")
    policy = (
        f"default-src 'none'; style-src '{hash_of(text, 'style')}'; form-action 'self'; base-uri 'none'; "
        f"frame-ancestors 'none'{f'; script-src {script!r}' if script else ''}"
    )
    return HTMLResponse(text, status, {"Content-Security-Policy": policy})


def hash_of(text: str, tag: str) -> str:
    """How a page's policy names what its first element of that name holds; empty where there is none."""
    _, found, rest = text.partition(f"<{tag}")
    held = rest.partition(">")[2].partition(f"</{tag}>")[0]
    return f"sha256-{base64.b64encode(hashlib.sha256(held.encode()).digest()).decode()}" if found else ""


def answer_of(problem: Problem, scope: Scope, request_id: str) -> Response:
    """The problem as its client reads it: a page for a browser that asks for one, else a problem document."""
    if "text/html" in Headers(scope=scope).get("accept", ""):
        return problem_page(problem, request_id)
    return problem.response(request_id)


def _sentence(text: str) -> str:
    """A problem's detail as people read it, who did not ask for a field of JSON."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}"


def problem_page(problem: Problem, request_id: str = "", more: str = "", style: str = "") -> Response:
    """A problem for who came with a browser, with what may help as HTML; what is ours to mend has a name to ask for."""
    listed = "".join(f"<li>{escape(one.field)}: {escape(one.message)}</li>" for one in problem.errors)
    missing = problem.status == HTTPStatus.NOT_FOUND and not more
    said = [
        f"<p>{escape(_sentence(problem.detail))}</p>",
        f"<ul>{listed}</ul>" if listed else "",
        f'<p class="soft">The name of this request is {escape(request_id)}.</p>' if problem.status >= 500 else "",  # noqa: PLR2004
        more,
        '<p><a href="/">Start again from the first page</a></p>' if missing else "",
        DANGER,
    ]
    title = "There is no such page" if missing else "This did not work"
    answer = html_response(site_page(title, said, style), problem.status)
    answer.headers.update(problem.headers)
    return answer
