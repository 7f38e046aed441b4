"""What the functions of incidents share: the parts of their deployment, chosen by the environment."""

from city_platform.deployment import open_platform
from city_platform.deployment.incidents import (
    IncidentPath,
    open_incident_path,
    open_incident_repository,
    open_incident_service,
)
from city_platform.functions import home
from city_platform.incidents.repository import IncidentRepository
from city_platform.incidents.service import IncidentService
from city_platform.lake.lake import Lake
from city_platform.ports import Clock


def incident_path() -> IncidentPath:
    """Raises IncompleteSettings and the errors of the key service and the object store."""
    return open_incident_path(home(), open_platform(home()))


def incident_service() -> tuple[IncidentService, IncidentRepository, Clock]:
    """The service, the store beneath it, and the time. Raises as `incident_path`."""
    platform = open_platform(home())
    repository = open_incident_repository(home(), platform.clock)
    return open_incident_service(platform, repository), repository, platform.clock


def incident_publishing() -> tuple[Lake, IncidentService]:
    """The lake, and the service whose public incidents go there. Raises as `incident_path`."""
    platform = open_platform(home())
    return platform.lake, open_incident_service(platform, open_incident_repository(home(), platform.clock))
