"""What went wrong, as GeoReport tells it: a list of codes, which are HTTP statuses, each with a description."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from city_platform.api.limits import TooFast
from city_platform.api.open311.formats import Document, Value
from city_platform.api.problems import RETRY_SECONDS
from city_platform.errors import CityPlatformError, PermanentError, TransientError
from city_platform.incidents.idempotency import KeyReused
from city_platform.incidents.report import Fault, InvalidRequest
from city_platform.incidents.service import IncidentNotFound

BAD, FORBIDDEN, NOT_FOUND, TOO_FAST, UNAVAILABLE = 400, 403, 404, 429, 503
_SHOWN = 50  # errors; a request of a thousand wrong values is told the first
_NAMES = {  # of our fields, where GeoReport's differ
    "category": "service_code",
    "address": "address_string",
    "contact.email": "email",
    "contact.phone": "phone",
    "contact.name": "first_name and last_name",
}


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong; `code` is the HTTP status it stands for."""

    code: int
    description: str


class Refused(PermanentError):
    """A request that cannot be answered, with all that is wrong with it; the first decides the HTTP status."""

    def __init__(self, *mistakes: Mistake) -> None:
        self.mistakes = mistakes
        super().__init__("; ".join(one.description for one in mistakes))


def told(error: CityPlatformError) -> tuple[int, Document, Mapping[str, str]] | None:
    """HTTP status, answer and headers for an error; None for one that is no concern of the client's."""
    headers: dict[str, str] = {}
    match error:
        case Refused():
            mistakes: Sequence[Mistake] = error.mistakes
        case InvalidRequest():
            mistakes = [_mistake(fault) for fault in error.faults]
        case IncidentNotFound():
            mistakes = [Mistake(NOT_FOUND, "service_request_id was not found")]
        case KeyReused():
            mistakes = [Mistake(BAD, str(error))]
        case TooFast():
            mistakes, headers = [Mistake(TOO_FAST, str(error))], {"Retry-After": str(error.wait)}
        case TransientError():
            mistakes = [Mistake(UNAVAILABLE, "the service cannot answer now: try again")]
            headers = {"Retry-After": str(RETRY_SECONDS)}
        case _:
            return None
    listed: list[Value] = [{"code": one.code, "description": one.description} for one in mistakes[:_SHOWN]]
    return mistakes[0].code, Document("errors", listed), headers


def _mistake(fault: Fault) -> Mistake:
    if fault.field.startswith("attributes."):
        name = f"attribute[{fault.field.removeprefix('attributes.')}]"
    else:
        name = _NAMES.get(fault.field, fault.field)
    return Mistake(BAD, f"{name}: {fault.message}")
