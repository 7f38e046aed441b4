"""Rejects requests for information that nobody answered in time; a scheduler calls it once a day."""

from functools import cache
from typing import Any

from city_platform.functions.composition import incident_service
from city_platform.incidents.repository import IncidentRepository
from city_platform.incidents.service import IncidentService
from city_platform.incidents.unanswered import reject_unanswered
from city_platform.ports import Clock


@cache
def _parts() -> tuple[IncidentService, IncidentRepository, Clock]:
    # Made at the first event and kept: so long the function's container lives.
    return incident_service()


def handler(_event: dict[str, Any], _context: object) -> dict[str, int]:
    """How many were rejected. Called again, it rejects no others."""
    service, repository, clock = _parts()
    return {"rejected": len(reject_unanswered(service, repository, clock.now()))}
