"""What clients send beside reports and edits: changes of status, notes, pictures."""

from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from city_platform.incidents.model import Resolution, Status
from city_platform.incidents.pictures import BYTES_LIMIT, CONTENT_TYPES
from city_platform.incidents.report import InvalidRequest, read_fields
from city_platform.incidents.service import BULK_LIMIT, NOTE_LIMIT

Note = Annotated[str, Field(strict=True, min_length=1, max_length=NOTE_LIMIT)]
Model = TypeVar("Model", bound=BaseModel)
IncidentId = Annotated[str, Field(strict=True, min_length=1, max_length=50)]


class TransitionRequest(BaseModel):
    """A change of status. Closing needs a `resolution` and a `note`; `duplicate` needs `duplicate_of`."""

    model_config = ConfigDict(extra="forbid")

    to: Status
    note: Note | None = None
    resolution: Resolution | None = None
    duplicate_of: IncidentId | None = None


class BulkTransitionRequest(BaseModel):
    """Many incidents closed for one reason, which everybody may read."""

    model_config = ConfigDict(extra="forbid")

    incidents: Annotated[list[IncidentId], Field(min_length=1, max_length=BULK_LIMIT)]
    to: Status
    note: Note
    resolution: Resolution


class CommentRequest(BaseModel):
    """A note for the history; with `public` everybody may read it."""

    model_config = ConfigDict(extra="forbid")

    note: Note
    public: Annotated[bool, Field(strict=True)] = False


def _picture(content_type: str) -> str:
    if content_type not in CONTENT_TYPES:
        raise ValueError(f"send one of: {', '.join(CONTENT_TYPES)}")
    return content_type


class MediaRequest(BaseModel):
    """A picture to come: its type and how many bytes it has."""

    model_config = ConfigDict(extra="forbid")

    content_type: Annotated[
        str, Field(strict=True, json_schema_extra={"enum": list(CONTENT_TYPES)}), AfterValidator(_picture)
    ]
    bytes: Annotated[int, Field(strict=True, ge=1, le=BYTES_LIMIT)]


def read(model: type[Model], payload: Any) -> Model:
    """Raises InvalidRequest with every fault."""
    values, faults = read_fields(model, payload)
    if faults:
        raise InvalidRequest(faults)
    return model.model_construct(**values)
