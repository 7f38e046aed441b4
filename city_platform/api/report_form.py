"""The form for citizens: HTML that works without a script, and says beside each field what is wrong with it.

Two pages: choose what it is about, then describe it, with that category's own questions. Where scripts run, a small one
keeps what was typed until it is sent.
"""

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool

from city_platform.api.desk import Desk
from city_platform.api.html import DANGER, html_response, problem_page, site_page
from city_platform.api.incidents import TheDesk, Who
from city_platform.api.problems import Problem
from city_platform.incidents.reference import Attribute, AttributeType, Category
from city_platform.incidents.report import Fault, InvalidRequest
from city_platform.incidents.roles import ANONYMOUS, Actor
from city_platform.incidents.service import IncidentNotFound
from city_platform.incidents.views import public_view
from city_platform.pages import escape

_STYLE = """\
form { max-width: 38rem; } fieldset { border: 1px solid var(--line); border-radius: .4rem; margin: 1.2rem 0;
  padding: .5rem 1rem 1rem; } legend { font-weight: 600; padding: 0 .4rem; }
.field { margin: 1rem 0; } .field > label, .field > .label { display: block; font-weight: 600; }
input[type=text], input[type=email], input[type=tel], textarea, select { width: 100%; font: inherit; color: inherit;
  background: var(--page); border: 1px solid var(--soft); border-radius: .3rem; padding: .5rem .6rem; }
.hint { color: var(--soft); margin: .1rem 0 .3rem; font-size: .92rem; } .wrong { color: var(--bad); font-weight: 600;
  margin: .1rem 0 .3rem; } .field.bad { border-left: 4px solid var(--bad); padding-left: .8rem; }
.summary { border: 2px solid var(--bad); border-radius: .4rem; padding: .2rem 1rem; }
button { font: inherit; font-weight: 600; color: var(--page); background: var(--accent); border: 0;
  border-radius: .3rem; padding: .7rem 1.4rem; cursor: pointer; } .kinds { columns: 2 16rem; padding-left: 1.2rem; }
.kinds li { break-inside: avoid; margin: .35rem 0; } .ref { font-size: 1.5rem; font-weight: 700; }
input[type=checkbox] { width: 1.25rem; height: 1.25rem; vertical-align: -.25rem; } .field div { padding: .15rem 0; }
#draft button { color: var(--accent); background: none; border: 1px solid; padding: .3rem .7rem; }
:root { --bad: #a3211b; } @media (prefers-color-scheme: dark) { :root { --bad: #ff9a8f; } }
"""
# Keeps what was typed on this device, without what is about the person, so that neither a lost connection nor a closed
# page takes it away; and does not send it into nothing while there is no connection.
_DRAFT = """\
"use strict";
const form = document.querySelector("form[method=post]"), note = document.getElementById("draft");
const name = `draft ${form.elements.category.value}`, life = 7 * 86400e3;
const ticked = (one) => one.type === "checkbox";
const mine = () =>
  [...form.elements].filter((one) => one.name && one.type !== "hidden" && !one.name.startsWith("contact."));
const say = (text) => { note.querySelector("span").textContent = text; note.hidden = false; };
try {
  const kept = JSON.parse(localStorage.getItem(name));
  if (kept && Date.now() - kept.at < life && !document.querySelector(".summary")) {
    for (const one of mine()) {
      const said = kept.said.filter(([field]) => field === one.name).map(([, value]) => value);
      if (ticked(one)) one.checked = said.includes(one.value);
      else one.value = said[0] ?? "";
    }
    say("This is what you wrote before, kept on this device.");
  }
} catch { localStorage.removeItem(name); }
form.addEventListener("input", () => {
  const said = mine().filter((one) => one.value && (!ticked(one) || one.checked)).map((one) => [one.name, one.value]);
  localStorage.setItem(name, JSON.stringify({ at: Date.now(), said }));
});
form.addEventListener("submit", (event) => {
  if (navigator.onLine) return;
  event.preventDefault();
  say("There is no connection. What you wrote is kept on this device: send it when there is one again.");
  note.scrollIntoView();
});
note.querySelector("button").addEventListener("click", () => {
  localStorage.removeItem(name);
  for (const one of mine()) if (ticked(one)) one.checked = false; else one.value = "";
  note.hidden = true;
});
"""
_KEPT = '<p class="note" id="draft" role="status" hidden><span></span> <button type="button">Throw it away</button></p>'
_SENT = """\
"use strict";
for (const name of Object.keys(localStorage)) if (name.startsWith("draft ")) localStorage.removeItem(name);
"""
_FIELDS_LIMIT = 60
_PLAIN = ("title", "description", "address", "postal_code", "district", "lat", "long")
_CONTACT = ("email", "phone", "name")

_LABELS = {
    "title": "What is it, in a few words?",
    "description": "Tell us more",
    "address": "Address, or the nearest one",
    "district": "District, if you know it",
    "lat": "Latitude",
    "long": "Longitude",
    "contact.email": "E-mail address",
    "contact.phone": "Phone number",
    "contact.name": "Your name",
}

PATH = "/report"
router = APIRouter(include_in_schema=False)


_PLACE = ("lat", "long", "address")
# The interface asks programs for coordinates first, the form asks people for an address first.
_NOWHERE = Fault("address", "required", "say where it is, here or by latitude and longitude below")


@dataclass(frozen=True, slots=True)
class Form:
    """What somebody has filled in, as text, and what is wrong with it."""

    values: Mapping[str, Sequence[str]]
    faults: Sequence[Fault] = ()

    def value(self, name: str) -> str:
        return next(iter(self.values.get(name, ())), "")

    def wrong(self, name: str) -> str:
        """All that is wrong with a field; its parts (`attributes.items.0`) included."""
        said = [one.message for one in self.faults if one.field == name or one.field.startswith(f"{name}.")]
        return "; ".join(dict.fromkeys(said))


@router.get("/report")
def ask(desk: TheDesk, _: Who, category: str = "") -> Response:
    chosen = desk.service.reference.categories.get(category)
    if chosen is None:
        return html_response(_kinds(desk))
    return html_response(_form(desk, category, chosen, Form({"key": [secrets.token_urlsafe(24)]})))


@router.post("/report")
async def take(request: Request, desk: TheDesk, actor: Who) -> Response:
    # What is no form, or has more fields than ours, is an empty one: the page asks again.
    try:
        sent = parse_qsl((await request.body()).decode(), max_num_fields=_FIELDS_LIMIT)
    except ValueError:
        sent = []
    return await run_in_threadpool(_take, desk, actor, Form(_texts(sent)))


@router.get("/report/done/{incident_id}")
def done(incident_id: str, desk: TheDesk, _: Who) -> Response:
    try:
        incident = desk.service.get(incident_id, ANONYMOUS)
    except IncidentNotFound:
        return problem_page(Problem(404, "not-found", "There is no such report, or not everybody may see it."))
    reference = desk.service.reference
    shown = public_view(incident, reference)
    category = reference.categories.get(shown.category)
    body = [
        "<p>Your report has been received. Its number is</p>",
        f'<p class="ref"><a href="/incidents/{shown.public_ref}">{shown.public_ref}</a></p>',
        "<p>Keep it: with it you find out what becomes of your report.</p>",
        f"<p>{escape(category.name if category else shown.category)}: <bdi>{escape(shown.title)}</bdi></p>",
    ]
    if shown.expected_at is not None:
        day = shown.expected_at.astimezone(reference.zone)
        body.append(f"<p>It should be dealt with by <strong>{day:%A}, {day.day} {day:%B %Y}</strong>.</p>")
    return html_response(site_page("Thank you", [*body, _back()], _STYLE, _script(_SENT)))


def _take(desk: Desk, actor: Actor, form: Form) -> Response:
    category = form.value("category")
    chosen = desk.service.reference.categories.get(category)
    if chosen is None:
        return html_response(_kinds(desk), 400)
    payload = _payload(category, chosen, form)
    # What was sent before, then gone back to and changed, is another report, and it may be sent twice, too.
    key = form.value("key")
    once = hashlib.sha256(json.dumps([key, payload]).encode()).hexdigest() if key else None
    try:
        reported = desk.service.report(payload, actor, once)
    except InvalidRequest as error:
        faults = [_NOWHERE if not any(map(form.value, _PLACE)) and one.field == "lat" else one for one in error.faults]
        return html_response(_form(desk, category, chosen, Form(form.values, faults)), 400)
    return RedirectResponse(f"/report/done/{reported.incident.incident_id}", 303)


def _texts(sent: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in sent:
        if value.strip():
            found.setdefault(name, []).append(value.strip())
    return found


def _payload(category: str, chosen: Category, form: Form) -> dict[str, Any]:
    """The report as REST takes it; an empty field is an absent one."""
    payload: dict[str, Any] = {"category": category, "channel": "web"}
    for name in _PLAIN:
        if value := form.value(name):
            payload[name] = _number(value) if name in {"lat", "long"} else value
    if "postal_code" in payload:
        payload["postal_code"] = payload["postal_code"].upper()
    attributes: dict[str, Any] = {}
    for code, asked in chosen.attributes.items():
        values = form.values.get(f"attributes.{code}", ())
        if values:
            attributes[code] = list(values) if asked.type is AttributeType.MULTIVALUELIST else values[0]
    if attributes:
        payload["attributes"] = attributes
    contact = {name: form.value(f"contact.{name}") for name in _CONTACT if form.value(f"contact.{name}")}
    if contact:
        payload["contact"] = contact
    return payload


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text  # the service says what is wrong with it


def _kinds(desk: Desk) -> str:
    listed = "".join(
        f'<li><a href="/report?category={escape(code)}">{escape(one.name)}</a>'
        f'<br><span class="hint">{escape(one.description)}</span></li>'
        for code, one in desk.service.reference.categories.items()
    )
    return site_page("What would you like to report?", [f'<ul class="kinds">{listed}</ul>', DANGER], _STYLE, at=PATH)


def _form(desk: Desk, category: str, chosen: Category, form: Form) -> str:
    districts = {code: one.name for code, one in desk.service.reference.districts.items()}
    about = [
        _field(form, "title", "Everybody may read this.", required=True),
        _area(form, "description", _LABELS["description"], "Leave names, numbers and addresses of people out."),
        *(_question(form, f"attributes.{code}", asked) for code, asked in chosen.attributes.items()),
    ]
    where = [
        _field(form, "address", "For example 453 West 12th Avenue"),
        _choice(form, "district", _LABELS["district"], {"": "I do not know", **districts}),
        _field(form, "lat", "If you have coordinates, such as 49.2633", mode="decimal"),
        _field(form, "long", "Such as -123.0985", mode="decimal"),
    ]
    reach = [
        _field(form, "contact.email", "Only staff can see it.", kind="email", fill="email"),
        _field(form, "contact.phone", kind="tel", fill="tel"),
        _field(form, "contact.name", fill="name"),
    ]
    body = [
        DANGER,
        _KEPT,
        _summary(form, chosen),
        '<form method="post" action="/report" novalidate>',
        f'<input type="hidden" name="category" value="{escape(category)}">',
        f'<input type="hidden" name="key" value="{escape(form.value("key"))}">',
        _group("What happened?", about),
        _group("Where is it?", where),
        _group("How can we reach you? You may leave this empty.", reach),
        "<button>Send the report</button></form>",
        '<p><a href="/report">It is about something else</a></p>',
    ]
    title = f"Please check your report: {chosen.name}" if form.faults else f"Report: {chosen.name}"
    return site_page(title, body, _STYLE, _script(_DRAFT), at=PATH)


def _summary(form: Form, chosen: Category) -> str:
    if not form.faults:
        return ""
    listed = "".join(
        f'<li><a href="#{_anchor(one.field)}">{escape(_label(one.field, chosen))}: {escape(one.message)}</a></li>'
        for one in form.faults
    )
    return f'<div class="summary" role="alert"><h2>Not sent yet</h2><ul>{listed}</ul></div>'


def _label(field: str, chosen: Category) -> str:
    """What the form calls a field."""
    kind, _, code = _anchor(field).partition(".")
    if kind == "attributes" and code in chosen.attributes:
        return chosen.attributes[code].name
    return _LABELS.get(_anchor(field), field)


def _anchor(field: str) -> str:
    """The field that a fault is shown at: of a list's third value, the list's."""
    parts = field.split(".")
    return escape(".".join(parts[:2] if parts[0] in {"attributes", "contact"} else parts[:1]))


def _group(legend: str, fields: Sequence[str]) -> str:
    return f"<fieldset><legend>{escape(legend)}</legend>{''.join(fields)}</fieldset>"


def _around(form: Form, name: str, label: str, hint: str, control: str) -> str:
    """A field: label, hint, what is wrong, and the control, which `{described}` ties to them."""
    wrong = form.wrong(name)
    told = f'<p class="wrong" id="{name}-wrong">{escape(wrong)}</p>' if wrong else ""
    said = f'<p class="hint" id="{name}-hint">{escape(hint)}</p>' if hint else ""
    ties = " ".join(f"{name}-{what}" for what, there in (("wrong", wrong), ("hint", hint)) if there)
    described = (f' aria-describedby="{ties}"' if ties else "") + (' aria-invalid="true"' if wrong else "")
    return (
        f'<div class="field{" bad" if wrong else ""}"><label for="{name}">{escape(label)}</label>{said}{told}'
        + control.replace("{described}", described)
        + "</div>"
    )


def _field(
    form: Form, name: str, hint: str = "", *, label: str | None = None, kind: str = "text", fill: str = "off",
    mode: str = "", required: bool = False,
) -> str:  # fmt: skip
    extra = f' inputmode="{mode}"' if mode else ""
    extra += " required" if required else ""
    control = (
        f'<input type="{kind}" id="{name}" name="{name}" dir="auto" autocomplete="{fill}"{extra}{{described}} '
        f'value="{_value(form, name)}">'
    )
    return _around(form, name, label or _LABELS[name], hint, control)


def _area(form: Form, name: str, label: str, hint: str) -> str:
    control = f'<textarea id="{name}" name="{name}" dir="auto" rows="5"{{described}}>{_value(form, name)}</textarea>'
    return _around(form, name, label, hint, control)


def _value(form: Form, name: str) -> str:
    # What somebody wrote is text here, never a place to be filled in.
    return escape(form.value(name)).replace("{", "&#123;")


def _choice(form: Form, name: str, label: str, choices: Mapping[str, str]) -> str:
    options = "".join(
        f'<option value="{escape(code)}"{" selected" if form.value(name) == code else ""}>{escape(said)}</option>'
        for code, said in choices.items()
    )
    return _around(form, name, label, "", f'<select id="{name}" name="{name}"{{described}}>{options}</select>')


def _question(form: Form, name: str, asked: Attribute) -> str:
    label = asked.name if asked.required else f"{asked.name} (if you know)"
    match asked.type:
        case AttributeType.SINGLEVALUELIST:
            return _choice(form, name, label, {"": "Please choose", **asked.values})
        case AttributeType.MULTIVALUELIST:
            return _several(form, name, label, asked.values)
        case AttributeType.TEXT:
            return _area(form, name, label, "")
        case AttributeType.DATETIME:
            return _field(form, name, "With its offset, such as 2026-06-01T10:03:20-07:00", label=label)
        case AttributeType.NUMBER:
            return _field(form, name, label=label, mode="decimal")
        case AttributeType.STRING:
            return _field(form, name, label=label)


def _several(form: Form, name: str, label: str, choices: Mapping[str, str]) -> str:
    wrong = form.wrong(name)
    told = f'<p class="wrong" id="{name}-wrong">{escape(wrong)}</p>' if wrong else ""
    boxes = "".join(
        f'<div><label><input type="checkbox" name="{name}" value="{escape(code)}"'
        f"{' checked' if code in form.values.get(name, ()) else ''}> {escape(said)}</label></div>"
        for code, said in choices.items()
    )
    return (
        f'<div class="field{" bad" if wrong else ""}" role="group" aria-labelledby="{name}-label" id="{name}" '
        f'tabindex="-1"><span class="label" id="{name}-label">{escape(label)}</span>{told}{boxes}</div>'
    )


def _script(text: str) -> str:
    """A script that runs once the page is there; where none run, the page works without."""
    return f'<script type="module">\n{text}</script>\n'


def _back() -> str:
    return '<p><a href="/report">Report something else</a></p>'
