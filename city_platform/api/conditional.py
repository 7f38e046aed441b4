"""Answers that a client may have already (RFC 9110, 13)."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from starlette.requests import Request


def names(header: str, etag: str) -> bool:
    """Whether an If-None-Match header names this ETag; `*` names any."""
    return header.strip() == "*" or etag in {one.strip().removeprefix("W/") for one in header.split(",")}


def unchanged(request: Request, etag: str, modified: datetime | None = None) -> bool:
    """Whether the client has it already; its ETags count before its date (RFC 9110, 13.2.2)."""
    known = request.headers.get("if-none-match")
    if known is not None:
        return names(known, etag)
    since = request.headers.get("if-modified-since")
    if since is None or modified is None:
        return False
    try:
        seen = parsedate_to_datetime(since)
    except (ValueError, OverflowError):  # the latter of a zone that no number of hours is
        return False
    return modified.replace(microsecond=0) <= (seen if seen.tzinfo else seen.replace(tzinfo=UTC))
