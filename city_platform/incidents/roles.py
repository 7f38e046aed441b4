"""Who may do what. A token's groups are roles; without a token one is anonymous."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from city_platform.incidents.model import Channel, Incident, Severity, Status, Visibility


class Role(StrEnum):
    ANONYMOUS = "anonymous"
    CITIZEN = "citizen"
    OFFICER = "officer"
    DISTRICT_MANAGER = "district_manager"
    TRAFFIC_ADMIN = "traffic_admin"
    STEWARD = "steward"
    ENGINEER = "engineer"
    ADMIN = "admin"
    SYSTEM = "system"  # the platform itself: an information request that ran out of time


@dataclass(frozen=True, slots=True)
class Actor:
    """Whoever asks: the token's subject, roles, and the districts an officer or manager answers for."""

    subject: str | None = None
    roles: frozenset[Role] = frozenset({Role.ANONYMOUS})
    districts: frozenset[str] = frozenset()

    @classmethod
    def of(cls, subject: str, groups: Iterable[str], districts: Iterable[str] = ()) -> "Actor":
        """A signed-in actor; groups that are no roles are ignored, and everybody signed in is a citizen."""
        known = {role.value for role in Role} - {Role.ANONYMOUS, Role.SYSTEM}
        roles = {Role(group) for group in groups if group in known} | {Role.CITIZEN}
        return cls(subject, frozenset(roles), frozenset(districts))

    def has(self, *roles: Role) -> bool:
        return not self.roles.isdisjoint(roles)

    @property
    def role(self) -> Role:
        """The one that history names: the most powerful."""
        return max(self.roles, key=list(Role).index)

    def manages(self, incident: Incident) -> bool:
        """Whether the incident is theirs to deal with: an officer's and a manager's by district, an admin's always."""
        if self.has(Role.ADMIN, Role.SYSTEM):
            return True
        return self.has(Role.OFFICER, Role.DISTRICT_MANAGER) and incident.district in self.districts

    def reported(self, incident: Incident) -> bool:
        return self.subject is not None and incident.reported_by == self.subject

    def may_see(self, incident: Incident) -> bool:
        if self.manages(incident):
            return True
        return incident.visibility is Visibility.PUBLIC or (
            incident.visibility is Visibility.PRIVATE and self.reported(incident)
        )

    def may_see_contact(self, incident: Incident) -> bool:
        return self.manages(incident) or self.reported(incident)

    def may_report(self) -> bool:
        return self.has(
            Role.ANONYMOUS, Role.CITIZEN, Role.OFFICER, Role.DISTRICT_MANAGER, Role.TRAFFIC_ADMIN, Role.ADMIN
        )

    def may_report_by(self, channel: Channel) -> bool:
        """Phone and officer say that staff took the report, sensor that no person did: nobody else may say so."""
        match channel:
            case Channel.PHONE | Channel.OFFICER:
                return self.has(Role.OFFICER, Role.DISTRICT_MANAGER, Role.ADMIN)
            case Channel.SENSOR:
                return self.has(Role.TRAFFIC_ADMIN, Role.ADMIN)
            case _:
                return True

    def may_set_severity(self, severity: Severity, district: str) -> bool:
        """Only staff of the district make something critical; a citizen's `critical` is taken as `high`."""
        if severity is not Severity.CRITICAL or self.has(Role.ADMIN, Role.SYSTEM, Role.TRAFFIC_ADMIN):
            return True
        return self.has(Role.OFFICER, Role.DISTRICT_MANAGER) and district in self.districts

    def may_close_in_bulk(self) -> bool:
        return self.has(Role.DISTRICT_MANAGER, Role.ADMIN)

    def may_move(self, incident: Incident, to: Status) -> bool:
        """Staff move what they manage; a reporter cancels, answers and reopens their own."""
        if self.manages(incident):
            return to is not Status.CANCELLED or self.reported(incident) or self.has(Role.ADMIN)
        own = {Status.CANCELLED, Status.REOPENED, Status.INFO_RECEIVED}
        return self.reported(incident) and to in own


ANONYMOUS = Actor()
SYSTEM = Actor("system", frozenset({Role.SYSTEM}))
