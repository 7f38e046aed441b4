"""What lets traffic and incidents speak to each other, as the deployment has it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from city_platform.deployment import PUBLIC_URL, open_platform
from city_platform.deployment.incidents import open_incident_repository, open_incident_service
from city_platform.deployment.traffic import find_state, open_registry

if TYPE_CHECKING:
    from city_platform.crossing.desk import CrossingDesk
    from city_platform.crossing.rules import Rules
    from city_platform.incidents.reference import Reference

RULES = "CITY_PLATFORM_TRAFFIC_INCIDENTS"  # off, on, or a file of rules
OFF, ON = "off", "on"
_MOST_BYTES = 1_000_000  # of a file of rules


def open_crossing(home: Path, environ: Mapping[str, str] = os.environ) -> "CrossingDesk | None":
    """The desk between both; None while no traffic runs here.

    Raises BadRules, BadReference, IncompleteSettings and the errors of the key service and the object store.
    """
    from city_platform.crossing.desk import CrossingDesk
    from city_platform.traffic.roads import generate_roads
    from city_platform.traffic.telling import zone_pages

    state = find_state(home, environ)
    if state is None:
        return None
    platform = open_platform(home, environ)
    service = open_incident_service(platform, open_incident_repository(home, platform.clock, environ), environ)
    rules = open_rules(service.reference, environ)
    roads, link = generate_roads(open_registry(environ)), zone_pages(environ.get(PUBLIC_URL))
    return CrossingDesk(state, service, roads, rules, platform.clock, link)


def open_rules(reference: "Reference", environ: Mapping[str, str] = os.environ) -> "Rules":
    """The table that the environment chooses; where it says nothing, nothing becomes an incident by itself.

    Raises BadRules.
    """
    from city_platform.crossing.rules import BadRules, load_rules

    said = environ.get(RULES) or OFF
    if said in {OFF, ON}:
        rules = load_rules(reference)
        return rules if said == ON else rules.without_openings()
    try:
        with Path(said).open("rb") as reader:
            data = reader.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise BadRules(f"{said} is larger than {_MOST_BYTES:,} bytes: a table of rules is small")
        return load_rules(reference, data.decode("utf-8"), said)
    except (OSError, UnicodeDecodeError) as error:
        raise BadRules(f"{RULES}={said!r} is neither {OFF} nor {ON} nor a file that can be read: {error}") from error
