"""The portal's request quota as its headers tell it.

`x-ratelimit-remaining` counts down, `x-ratelimit-reset` says when it starts again: documented as seconds since 1970,
seen as a date. A refusal (429) says the same in its body as `reset_time`, or in `retry-after`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

_LAST_SPAN = 10_000_000  # a smaller number is a span in seconds, a larger one an instant: this is April 1970
_FIRST_MILLISECOND = 100_000_000_000  # seconds since 1970 reach this in the year 5138


def reset_time(text: object, now: datetime) -> datetime | None:
    """The instant a reset value names, in UTC: ISO 8601, HTTP date, seconds or milliseconds since 1970, or seconds
    from `now`. A time without a zone is in UTC. None where it is nothing of these.
    """
    written = str(text).strip()
    try:
        if written.isascii() and written.replace(".", "", 1).isdigit():
            number = float(written)
            if number < _LAST_SPAN:
                return now + timedelta(seconds=number)
            return datetime.fromtimestamp(number / 1000 if number >= _FIRST_MILLISECOND else number, UTC)
        try:
            instant = datetime.fromisoformat(written)
        except ValueError:
            instant = parsedate_to_datetime(written)
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None


def exhausted_until(headers: Mapping[str, str], now: datetime) -> datetime | None:
    """When the next request is welcome, where this answer was the last of the quota; None where there is quota left."""
    if headers.get("x-ratelimit-remaining", "").strip() != "0":
        return None
    return reset_time(headers.get("x-ratelimit-reset", ""), now)


def refused_until(headers: Mapping[str, str], body: Mapping[str, object], now: datetime) -> datetime | None:
    """When a refused request (429) is welcome again; None where the portal does not say."""
    said = (body.get("reset_time"), headers.get("retry-after"), headers.get("x-ratelimit-reset"))
    known = (reset_time(one, now) for one in said if one is not None)
    return next((one for one in known if one is not None), None)
