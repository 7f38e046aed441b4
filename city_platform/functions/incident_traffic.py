"""Lets traffic and incidents say what they know to each other; a scheduler calls it each minute."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from typing import Any

from city_platform.aws.settings import IncompleteSettings
from city_platform.crossing.desk import CrossingDesk
from city_platform.deployment.crossing import open_crossing
from city_platform.errors import PermanentError
from city_platform.functions import home


class IncidentsRefused(PermanentError):
    """Some incidents could not be made, or explain nothing; what could be done was."""


@cache
def desk() -> CrossingDesk:
    """This process's desk. Raises as `open_crossing`, and IncompleteSettings where no table of traffic is named."""
    opened = open_crossing(home())
    if opened is None:
        raise IncompleteSettings("traffic's incidents need the name of its table: CITY_PLATFORM_TRAFFIC_TABLE")
    return opened


def handler(_event: object, _context: object) -> Mapping[str, Any]:
    """What was done. An error is the next minute's to try again: nothing is opened twice."""
    looked = desk().look()
    if looked.refused:
        raise IncidentsRefused("; ".join(looked.refused))
    return asdict(looked)
