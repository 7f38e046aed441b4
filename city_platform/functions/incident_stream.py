"""Takes changes of incidents from DynamoDB Streams, or from Kinesis, to the lake's door."""

from functools import cache
from typing import Any

from city_platform.deployment.incidents import IncidentPath
from city_platform.functions.composition import incident_path


@cache
def _path() -> IncidentPath:
    # Made at the first event and kept: so long the function's container lives.
    return incident_path()


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """One delivery; the records to deliver again are named (ReportBatchItemFailures)."""
    return _path().processor.process(event).partial_answer()
