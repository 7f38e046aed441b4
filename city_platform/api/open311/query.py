"""Which requests a client asks for."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from city_platform.api.open311.errors import BAD, NOT_FOUND, Mistake, Refused
from city_platform.api.open311.submission import Fields, filled, jurisdiction_mistakes
from city_platform.incidents.model import Status
from city_platform.incidents.reference import Reference
from city_platform.incidents.window import Window

SPAN = timedelta(days=90)
PAGE_LIMIT = 1000  # requests in one answer, and as many where nothing is said
DEPTH_LIMIT = 20_000  # requests that paging may pass; further back is asked for by date
IDS_LIMIT = 100
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+ -]\d\d:\d\d)")
_STATUSES: Mapping[str, frozenset[Status]] = {
    "open": frozenset(one for one in Status if not one.closed),
    "closed": frozenset(one for one in Status if one.closed),
}


@dataclass(frozen=True, slots=True)
class Query:
    """Either the requests named by `ids`, or a page of those in the window; pages count from 1."""

    ids: Sequence[str] | None
    window: Window
    page: int
    page_size: int
    extensions: bool


def read_query(parameters: Fields, reference: Reference, now: datetime) -> Query:
    """Raises Refused with everything that is wrong. Identifiers override all else, as the specification says."""
    given = filled(parameters)
    last = dict(given)
    mistakes = [*jurisdiction_mistakes(last.get("jurisdiction_id"), reference)]
    ids = _listed(given, "service_request_id")
    if len(ids) > IDS_LIMIT:
        mistakes.append(Mistake(BAD, f"service_request_id: ask for at most {IDS_LIMIT} at once"))
    extensions = wants_extensions(last.get("extensions", ""))
    if ids:
        if mistakes:
            raise Refused(*mistakes)
        return Query(ids, Window(now - SPAN, now), 1, PAGE_LIMIT, extensions)
    codes = _listed(given, "service_code")
    unknown = [code for code in codes if code not in reference.categories]
    mistakes += [Mistake(NOT_FOUND, f"service_code was not found: {code[:50]}") for code in unknown]
    statuses = _listed(given, "status")
    mistakes += [Mistake(BAD, f"status: open or closed, not {one[:50]}") for one in statuses if one not in _STATUSES]
    start, end = _span(last, now, mistakes)
    page = _number(last, "page", 1, DEPTH_LIMIT, mistakes)
    size = _number(last, "page_size", PAGE_LIMIT, PAGE_LIMIT, mistakes)
    if page * size > DEPTH_LIMIT and page > 1:
        mistakes.append(Mistake(BAD, f"page: beyond {DEPTH_LIMIT} requests ask by start_date and end_date"))
    if mistakes:
        raise Refused(*mistakes)
    wanted = frozenset(one for name in statuses for one in _STATUSES[name])
    return Query(None, Window(start, end, frozenset(codes) or None, wanted or None), page, size, extensions)


def wants_extensions(text: str) -> bool:
    return text.strip().lower() == "true"


def _listed(given: Fields, name: str) -> list[str]:
    """Values that come several times, with commas, or both; each once."""
    found = (part.strip() for key, value in given if key == name for part in value.split(","))
    return list(dict.fromkeys(part for part in found if part))


def _span(given: Mapping[str, str], now: datetime, mistakes: list[Mistake]) -> tuple[datetime, datetime]:
    start, end = (_moment(given.get(name), name, mistakes) for name in ("start_date", "end_date"))
    try:
        if start is None:
            end = end or now
            start = end - SPAN
        elif end is None:
            end = start + SPAN
    except OverflowError:
        mistakes.append(Mistake(BAD, "start_date and end_date: no such time"))
        return now, now
    assert end is not None  # noqa: S101 -- for the type checker: one of the branches has set it
    if start > end:
        mistakes.append(Mistake(BAD, "start_date: it is after end_date"))
    elif end - start > SPAN:
        mistakes.append(Mistake(BAD, f"start_date and end_date: they may span at most {SPAN.days} days"))
    return start, end


def _moment(text: str | None, name: str, mistakes: list[Mistake]) -> datetime | None:
    if text is None:
        return None
    # In a query a plus sign that was not encoded arrives as a blank.
    try:
        if _MOMENT.fullmatch(text):
            return datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        pass
    mistakes.append(Mistake(BAD, f"{name}: write a time with its offset, such as 2026-06-01T00:00:00Z"))
    return None


def _number(given: Mapping[str, str], name: str, default: int, limit: int, mistakes: list[Mistake]) -> int:
    text = given.get(name)
    if text is None:
        return default
    number = int(text) if re.fullmatch(r"[0-9]{1,9}", text) else 0
    if not 1 <= number <= limit:
        mistakes.append(Mistake(BAD, f"{name}: a number from 1 to {limit}"))
        return default
    return number
