"""Times in SQLite: RFC 3339 in UTC with microseconds, so that text order is time order."""

from datetime import UTC, datetime


def text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def moment(written: str) -> datetime:
    return datetime.fromisoformat(written)
