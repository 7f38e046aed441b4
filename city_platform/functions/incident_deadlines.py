"""Rejects requests that nobody answered in time, removes reporters in theirs; a scheduler calls it once a day."""

from functools import cache
from typing import Any

from city_platform.functions.composition import incident_service
from city_platform.incidents.repository import IncidentRepository
from city_platform.incidents.retention import anonymise
from city_platform.incidents.service import IncidentService
from city_platform.incidents.unanswered import reject_unanswered
from city_platform.ports import Clock

_AT_ONCE = 5_000  # incidents: more than a city closes in a day, and some minutes' work


@cache
def _parts() -> tuple[IncidentService, IncidentRepository, Clock]:
    # Made at the first event and kept: so long the function's container lives.
    return incident_service()


def handler(_event: dict[str, Any], _context: object) -> dict[str, int]:
    """How many were rejected, and how many anonymised. Called again, it does what is left."""
    service, repository, clock = _parts()
    now = clock.now()
    return {
        "rejected": len(reject_unanswered(service, repository, now)),
        "anonymised": anonymise(repository, now, _AT_ONCE),
    }
