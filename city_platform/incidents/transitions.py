"""The life of an incident: which status may follow which, and what a change needs."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from city_platform.errors import PermanentError
from city_platform.incidents.model import Incident, Resolution, Status
from city_platform.incidents.roles import Actor

REOPEN_DAYS = 30  # how long a reporter may reopen; staff always may
ANSWER_DAYS = 14  # how long an information request waits before the report is rejected

_S = Status
_CLOSING = (_S.RESOLVED, _S.REJECTED, _S.DUPLICATE)
ALLOWED: Mapping[Status, tuple[Status, ...]] = {
    _S.REPORTED: (
        _S.ACKNOWLEDGED, _S.IN_PROGRESS, _S.SCHEDULED, _S.INFO_REQUESTED, _S.FORWARDED, *_CLOSING, _S.CANCELLED,
    ),
    _S.ACKNOWLEDGED: (_S.IN_PROGRESS, _S.SCHEDULED, _S.INFO_REQUESTED, _S.FORWARDED, *_CLOSING, _S.CANCELLED),
    _S.IN_PROGRESS: (_S.SCHEDULED, _S.INFO_REQUESTED, _S.FORWARDED, *_CLOSING),
    _S.SCHEDULED: (_S.IN_PROGRESS, _S.FORWARDED, _S.RESOLVED, _S.REJECTED),
    _S.INFO_REQUESTED: (_S.INFO_RECEIVED, _S.ACKNOWLEDGED, _S.REJECTED, _S.CANCELLED),
    _S.INFO_RECEIVED: (_S.ACKNOWLEDGED, _S.IN_PROGRESS, _S.RESOLVED, _S.REJECTED),
    _S.FORWARDED: (_S.IN_PROGRESS, _S.RESOLVED, _S.REJECTED, _S.ACKNOWLEDGED),
    _S.RESOLVED: (_S.REOPENED,),
    _S.REJECTED: (_S.REOPENED,),
    _S.DUPLICATE: (_S.REOPENED,),
    _S.CANCELLED: (),
    _S.REOPENED: (_S.ACKNOWLEDGED, _S.IN_PROGRESS, *_CLOSING),
}  # fmt: skip


class IllegalTransition(PermanentError):
    """The status may not follow; `allowed` lists those that may."""

    def __init__(self, current: Status, wanted: Status) -> None:
        self.current = current
        self.wanted = wanted
        self.allowed = ALLOWED[current]
        listed = ", ".join(self.allowed) or "nothing: this status is final"
        super().__init__(f"an incident that is {current} cannot become {wanted}; it may become: {listed}")


class IncompleteTransition(PermanentError):
    """The change lacks something; `faults` says for each field what."""

    def __init__(self, faults: Mapping[str, str]) -> None:
        self.faults = faults
        super().__init__("; ".join(f"{field}: {what}" for field, what in faults.items()))


class NotYours(PermanentError):
    """This actor may not do that with this incident."""


def transition(
    incident: Incident,
    to: Status,
    *,
    actor: Actor,
    now: datetime,
    note: str | None,
    resolution: Resolution | None,
    original: Incident | None,
) -> Incident:
    """The incident after the change, one version on.

    Closing needs a resolution and a note; a duplicate needs its `original`, which is neither itself nor a duplicate.
    Raises IllegalTransition, NotYours, IncompleteTransition, in this order.
    """
    if to not in ALLOWED[incident.status]:
        raise IllegalTransition(incident.status, to)
    if not actor.may_move(incident, to):
        raise NotYours(f"you may not make this incident {to}")
    _in_time(incident, to, actor, now)
    faults = _faults(incident, to, note, resolution, original)
    if faults:
        raise IncompleteTransition(faults)
    closing = to.closed and to is not Status.CANCELLED
    return replace(
        incident,
        version=incident.version + 1,
        status=to,
        updated_at=now,
        closed_at=now if to.closed else None,
        resolution=(resolution if to is not Status.DUPLICATE else Resolution.DUPLICATE) if closing else None,
        duplicate_of=original.incident_id if original is not None and to is Status.DUPLICATE else None,
        supporters=0 if to is Status.DUPLICATE else incident.supporters,  # they are the original's now
        still_there=0,
    )


def _in_time(incident: Incident, to: Status, actor: Actor, now: datetime) -> None:
    late = incident.closed_at is not None and now - incident.closed_at > timedelta(days=REOPEN_DAYS)
    if to is Status.REOPENED and late and not actor.manages(incident):
        raise NotYours(f"a reporter may reopen within {REOPEN_DAYS} days; please report it anew, naming this one")


def _faults(
    incident: Incident, to: Status, note: str | None, resolution: Resolution | None, original: Incident | None
) -> dict[str, str]:
    faults: dict[str, str] = {}
    if to.closed and to is not Status.CANCELLED:
        if not note or not note.strip():
            faults["note"] = "closing an incident needs a note that everybody may read"
        if to is Status.DUPLICATE:
            faults |= _duplicate_faults(incident, resolution, original)
        elif resolution is None:
            others = ", ".join(one for one in Resolution if one is not Resolution.DUPLICATE)
            faults["resolution"] = f"closing an incident needs one of: {others}"
        elif resolution is Resolution.DUPLICATE:
            faults["resolution"] = "to close it as a duplicate, make its status `duplicate`"
    elif resolution is not None:
        faults["resolution"] = f"only closing takes one, and {to} does not close"
    if original is not None and to is not Status.DUPLICATE:
        faults["duplicate_of"] = "only the status `duplicate` takes one"
    return faults


def _duplicate_faults(incident: Incident, resolution: Resolution | None, original: Incident | None) -> dict[str, str]:
    faults: dict[str, str] = {}
    if resolution not in (None, Resolution.DUPLICATE):
        faults["resolution"] = "the resolution of a duplicate is `duplicate`"
    if original is None:
        faults["duplicate_of"] = "name the incident that this one repeats"
    elif original.incident_id == incident.incident_id:
        faults["duplicate_of"] = "an incident cannot repeat itself"
    elif original.status is Status.DUPLICATE:
        faults["duplicate_of"] = f"that one is a duplicate itself, of {original.duplicate_of}: name the first"
    return faults
