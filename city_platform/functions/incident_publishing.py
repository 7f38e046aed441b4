"""Publishes incidents as open data and counts them, where no server does it; a scheduler calls it every few minutes."""

from functools import cache
from typing import Any

from city_platform.functions.composition import incident_publishing
from city_platform.incidents.service import IncidentService
from city_platform.lake.lake import Lake
from city_platform.layers import open_incidents


@cache
def _parts() -> tuple[Lake, IncidentService]:
    # Made at the first event and kept: so long the function's container lives.
    return incident_publishing()


def handler(_event: dict[str, Any], _context: object) -> dict[str, int]:
    """How many incidents of each year are public now. Called again, it writes only what has changed since."""
    lake, service = _parts()
    return {year.partition: year.counts["rows"] for year in open_incidents.publish(lake, service)}
