"""Critical incidents: whoever is on duty hears of each once, when it becomes critical."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from city_platform.errors import TransientError
from city_platform.incidents.model import Severity, Status, Visibility
from city_platform.incidents.reference import Reference
from city_platform.incidents.stream import Row
from city_platform.ports import Claims, ClaimState, Clock, Notifier

_SENDING = timedelta(minutes=1)  # longer than a notifier takes, attempts included


class AlertInProgress(TransientError):
    """Somebody else is sending this alert just now; if they fail, it is to be sent again."""


def entered_critical(row: Row) -> bool:
    """Whether this change is what made the incident critical: its report, or a raise of its severity."""
    if row.event == "REMOVE" or Status(row.status).closed:
        return False
    return row.severity is Severity.CRITICAL and row.old_severity is not Severity.CRITICAL


@dataclass(frozen=True, slots=True)
class AlertDesk:
    """Sends the alert of a change once, however often the change comes.

    The change's name is claimed before the alert is sent and finished after: who dies in between leaves a claim that
    lapses, and the alert is sent by the change's next delivery. The notifier gets the same name, so that one that can
    tell a repetition drops it even where the death came after the sending.
    """

    claims: Claims
    notifier: Notifier
    clock: Clock
    reference: Reference
    link: Callable[[str], str]  # from an incident's id to its page
    holder: str  # this process, by a name of its own

    def look_at(self, row: Row) -> bool:
        """Whether an alert went out. Raises AlertInProgress and the ports' errors: deliver the change again."""
        if not entered_critical(row):
            return False
        name = f"alert#{row.event_id}"
        state = self.claims.claim(name, self.holder, self.clock.now() + _SENDING)
        if state is ClaimState.DONE:
            return False
        if state is ClaimState.HELD:
            raise AlertInProgress(f"the alert for {row.incident_id} is being sent")
        self.notifier.notify(*self._message(row), once=name)
        self.claims.finish(name, self.holder)
        return True

    def _message(self, row: Row) -> tuple[str, str]:
        category = self.reference.categories.get(row.category)
        what = category.name if category else row.category
        became = "was reported as" if row.event == "INSERT" else f"was raised from {row.old_severity} to"
        district = self.reference.districts.get(row.district)
        near = district.name if district else row.district
        place = near
        # What is private, or sensitive by its category, says no more of its place than the district.
        discreet = row.visibility is not Visibility.PUBLIC or category is None or category.sensitive
        if row.lat is not None and row.long is not None and not discreet:
            place += f" ({row.lat:.5f}, {row.long:.5f})"
        lines = [
            f"Incident {row.public_ref} ({row.incident_id}) {became} critical.",
            f"What: {what}; department {row.department}",
            f"Where: {place}",
            f"When: {row.changed_at.isoformat(timespec='seconds')}",
            f"Link: {self.link(row.incident_id)}",
        ]
        return f"Critical incident {row.public_ref}: {what}, {near}", "\n".join(lines)
