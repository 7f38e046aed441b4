"""The registry of all events that the platform tells: their types by name, and each one's JSON Schema.

The documents in `schemas/` are for whoever receives events; a test holds them to the types here, and
`city_platform.deployment.event_schemas` writes them. A change that receivers would stumble over is a new version: the
detail's `schema` counts it.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from city_platform.events import Detail
from city_platform.governance.events import QualityGateFailed
from city_platform.incidents.events import ExportCompleted, IncidentBecameCritical
from city_platform.traffic.events import TYPES as TRAFFIC

TYPES: Mapping[str, type[Detail]] = {
    **TRAFFIC,
    **{kind.__name__: kind for kind in (IncidentBecameCritical, QualityGateFailed, ExportCompleted)},
}


def schema(detail_type: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a detail."""
    document = msgspec.json.schema(TYPES[detail_type])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": detail_type, **document}
