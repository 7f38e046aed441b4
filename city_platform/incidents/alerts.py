"""What somebody has to hear of at once, and once: what becomes critical, and what was closed and is still there.

The first is an event, too, for whoever subscribed: the change brings both, and is dealt with when both are told.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from city_platform.errors import TransientError
from city_platform.events import publish
from city_platform.incidents.events import became_critical, how, is_discreet
from city_platform.incidents.model import Severity, Status
from city_platform.incidents.reference import Reference
from city_platform.incidents.stream import Row
from city_platform.ports import Claims, ClaimState, Clock, EventBus, Notifier

DOUBTS = 3  # people who say that a closed incident is still there, until its department hears of it
_SENDING = timedelta(minutes=1)  # longer than a notifier takes, attempts included


class AlertInProgress(TransientError):
    """Somebody else is sending this just now; if they fail, it is to be sent again."""


def entered_critical(row: Row) -> bool:
    """Whether this change is what made an open incident critical: its report, a raise of its severity, or opening a
    critical one again, which may have become so while it was closed and nobody was told.
    """
    if row.event == "REMOVE" or Status(row.status).closed:
        return False
    return row.severity is Severity.CRITICAL and (row.old_severity is not Severity.CRITICAL or _reopened(row))


def _reopened(row: Row) -> bool:
    return row.old_status is not None and row.old_status.closed


def doubted(row: Row, doubts: tuple[int, int]) -> bool:
    """Whether this change is the vote by which so many say that a closed incident is still there."""
    before, after = doubts
    return row.event == "MODIFY" and before < DOUBTS <= after


@dataclass(frozen=True, slots=True)
class AlertDesk:
    """Sends the alert of a change once, however often the change comes, and then its event.

    The change's name is claimed before the alert is sent and finished after: who dies in between leaves a claim that
    lapses, and the alert is sent by the change's next delivery. The notifier gets the same name, so that one that can
    tell a repetition drops it even where the death came after the sending. The event has a claim of its own, so that
    a bus that is out neither holds an alert back nor repeats it.
    """

    claims: Claims
    notifier: Notifier
    bus: EventBus
    clock: Clock
    reference: Reference
    link: Callable[[str], str]  # from an incident's id to its page
    holder: str  # this process, by a name of its own

    def look_at(self, row: Row, doubts: tuple[int, int] = (0, 0)) -> bool:
        """Whether an alert went out; `doubts` as `stream.still_there` gives them.

        Raises AlertInProgress and the ports' errors: deliver the change again.
        """
        if not entered_critical(row):
            return doubted(row, doubts) and self._alert(row, *self._doubted(row))
        alerted = self._alert(row, *self._critical(row))
        event = became_critical(row, self.reference, self.link(row.incident_id))
        self._once(f"event#{row.event_id}", lambda: publish(self.bus, event, row.changed_at))
        return alerted

    def _alert(self, row: Row, subject: str, body: str) -> bool:
        name = f"alert#{row.event_id}"
        return self._once(name, lambda: self.notifier.notify(subject, body, once=name))

    def _once(self, name: str, tell: Callable[[], None]) -> bool:
        state = self.claims.claim(name, self.holder, self.clock.now() + _SENDING)
        if state is ClaimState.DONE:
            return False
        if state is ClaimState.HELD:
            raise AlertInProgress(f"{name} is being sent")
        tell()
        self.claims.finish(name, self.holder)
        return True

    def _critical(self, row: Row) -> tuple[str, str]:
        became = {
            "reported": "was reported as critical",
            "raised": f"was raised from {row.old_severity} to critical",
            "reopened": "was opened again and is critical",
        }
        return self._message(row, "Critical incident", became[how(row)])

    def _doubted(self, row: Row) -> tuple[str, str]:
        said = f"was closed ({row.status}), and {DOUBTS} people say that it is still there"
        return self._message(row, "Still there after it was closed", said)

    def _message(self, row: Row, subject: str, said: str) -> tuple[str, str]:
        category = self.reference.categories.get(row.category)
        what = category.name if category else row.category
        district = self.reference.districts.get(row.district)
        near = district.name if district else row.district
        place = near
        if row.lat is not None and row.long is not None and not is_discreet(row, self.reference):
            place += f" ({row.lat:.5f}, {row.long:.5f})"
        lines = [
            f"Incident {row.public_ref} ({row.incident_id}) {said}.",
            f"What: {what}; department {row.department}",
            f"Where: {place}",
            f"When: {row.changed_at.isoformat(timespec='seconds')}",
            f"Link: {self.link(row.incident_id)}",
        ]
        return f"{subject} {row.public_ref}: {what}, {near}", "\n".join(lines)
