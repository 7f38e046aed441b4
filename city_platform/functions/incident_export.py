"""The steps of the incident export, for the state machine: the event says which."""

from functools import cache
from typing import Any

from city_platform.deployment.incidents import IncidentPath
from city_platform.errors import PermanentError
from city_platform.functions.composition import incident_path
from city_platform.incidents.export import State


class UnknownStep(PermanentError):
    """The state machine asks for a step there is none of: it and this function are of different versions."""


@cache
def _path() -> IncidentPath:
    # Made at the first event and kept: so long the function's container lives.
    return incident_path()


def handler(event: dict[str, Any], _context: object) -> State:
    """Does one step. An error's class name is what the state machine's Retry and Catch see."""
    export = _path().export
    done: State
    match event:
        case {"step": "lock", "holder": str(holder)}:
            done = export.lock(holder)
        case {"step": "list"}:
            done = export.list()
        case {"step": "export", "day": day}:
            done = export.export(day)
        case {"step": "write_manifests", "days": days}:
            done = export.write_manifests(days)
        case {"step": "verify", "published": published}:
            done = export.verify(published)
        case {"step": "tell", "days": days}:
            done = export.tell(days)
        case {"step": "clear", "days": days}:
            done = export.clear(days)
        case {"step": "notify", "days": days, "holder": str(holder)}:
            done = export.notify(days, holder)
        case {"step": "unlock", "holder": str(holder)}:
            done = export.unlock(holder)
        case {"step": "failed", "holder": str(holder), "error": dict(error)}:
            done = export.failed(holder, f"{error.get('Error')}: {error.get('Cause')}")
        case _:
            raise UnknownStep(f"there is no step {event.get('step')!r} with {', '.join(sorted(event))}")
    return done
