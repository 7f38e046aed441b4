"""What the pages of traffic share: how they look, how they renew themselves, and what a browser may load for them."""

from collections.abc import Iterable

from city_platform.api.html import hash_of, site_page
from city_platform.api.traffic import drawing

PATH = "/traffic"

RENEW_S = 5
_STYLE = (
    drawing.STYLE
    + """\
body { max-width: 90rem; } .two { display: grid; gap: 1.5rem 2rem; align-items: start; margin-top: 1rem; }
@media (min-width: 62rem) { .two { grid-template-columns: minmax(0, 3fr) minmax(19rem, 2fr); } }
.two h2 { margin-top: 0; } .two h2 + * { margin-top: .25rem; } svg.swatch { width: 1.5rem; flex: none; }
ul.legend { list-style: none; padding: 0; margin: .75rem 0; display: flex; flex-wrap: wrap; gap: .35rem 1.1rem; }
ul.legend li { display: flex; gap: .45rem; align-items: center; font-size: .9rem; }
ul.zones { columns: 11rem; padding: 0; list-style: none; font-size: .9rem; } .now { margin: 0; }
table { width: 100%; } table a { white-space: nowrap; } .level { font-weight: 600; }
"""
)
# Swaps the page's content for what the server has now. Focus, open parts and the place on the page stay as they are.
_SCRIPT = """\
"use strict";
setInterval(async () => {
  if (document.hidden || document.getElementById("still")) return;
  const main = document.querySelector("main");
  try {
    const answer = await fetch(location.href, { signal: AbortSignal.timeout(4000) });
    if (!answer.ok) throw new Error(answer.status);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
    for (const { id } of main.querySelectorAll("details[open]")) fresh.querySelector(`#${id}`).open = true;
    const focused = main.contains(document.activeElement) ? document.activeElement : null;
    const within = focused?.closest("[id]")?.id;
    const link = focused?.getAttribute("href");
    main.replaceWith(fresh);
    const place = (within && fresh.querySelector(`#${within}`)) || fresh;
    const again = link ? place.querySelector(`a[href="${link}"]`) : focused && place.querySelector("summary");
    again?.focus({ preventScroll: true });
  } catch {
    const lost = document.getElementById("lost");
    lost.textContent = `The server does not answer. What you see is of ${document.getElementById("at").textContent}.`;
    lost.hidden = false;
  }
}, 5000);
"""
_HEAD = (
    f'<noscript><meta http-equiv="refresh" content="{RENEW_S}"></noscript>\n'
    f'<script type="module">\n{_SCRIPT}</script>\n'
)


def framed(title: str, body: Iterable[str], *, still: bool = False) -> str:
    """A page; it renews itself unless it is `still`. `body` has an element `at` with its time, and a hidden `lost`."""
    return site_page(title, body, _STYLE, "" if still else _HEAD, at=PATH)


_FRAME = framed("", ())
_POLICY = (
    f"default-src 'none'; style-src '{hash_of(_FRAME, 'style')}'; script-src '{hash_of(_FRAME, 'script')}'; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"}
