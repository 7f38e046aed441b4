"""Information requests that nobody answered: rejected after two weeks, with a note that says so."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from city_platform.incidents.model import UNLOCATED, HistoryEntry, Incident, Resolution, Status
from city_platform.incidents.repository import IncidentRepository, Listing, Pattern, Position, VersionConflict
from city_platform.incidents.roles import SYSTEM
from city_platform.incidents.service import IncidentService
from city_platform.incidents.transitions import ANSWER_DAYS, IllegalTransition

_AT_ONCE = 100  # incidents of one page
_NOTE = (
    f"The city asked for more information and had no answer for {ANSWER_DAYS} days. Its reporter may open this again."
)


def reject_unanswered(service: IncidentService, repository: IncidentRepository, now: datetime) -> list[Incident]:
    """The incidents that this has rejected; run again, it rejects no others. Raises the store's errors.

    A note of the reporter's own is an answer, too: such a request waits for the staff.
    """
    rejected: list[Incident] = []
    for waiting in list(_requested(repository, [*service.reference.regions, UNLOCATED])):
        since = now - timedelta(days=ANSWER_DAYS)
        if waiting.reported_at > since or not _unanswered(waiting, repository.history(waiting.incident_id), since):
            continue
        try:
            rejected.append(
                service.transition(
                    waiting.incident_id,
                    Status.REJECTED,
                    SYSTEM,
                    note=_NOTE,
                    resolution=Resolution.NOT_FIXED,
                    expected_version=waiting.version,
                )
            )
        except (VersionConflict, IllegalTransition):
            continue  # somebody did something about it just now
    return rejected


def _requested(repository: IncidentRepository, regions: list[str]) -> Iterator[Incident]:
    for region in regions:
        after: Position | None = None
        while page := repository.list(Listing(Pattern.REGION_STATUS, (region, Status.INFO_REQUESTED)), _AT_ONCE, after):
            yield from page
            after = Position(page[-1].reported_at, page[-1].incident_id)


def _unanswered(incident: Incident, history: Sequence[HistoryEntry], since: datetime) -> bool:
    asked = max(
        (number for number, one in enumerate(history) if one.from_status is not one.to_status is Status.INFO_REQUESTED),
        default=None,
    )
    if asked is None or history[asked].at > since:
        return False
    later = history[asked + 1 :]
    return not any(one.action == "comment" and one.actor == incident.reported_by for one in later)
