"""What the functions of incidents share: the parts of their deployment, chosen by the environment."""

import os
from pathlib import Path

from city_platform.deployment import open_platform
from city_platform.deployment.incidents import IncidentPath, open_incident_path


def incident_path() -> IncidentPath:
    """Raises IncompleteSettings and the errors of the key service and the object store."""
    home = Path(os.environ.get("CITY_PLATFORM_HOME", "/tmp/city-platform"))  # noqa: S108 -- all that Lambda can write to
    return open_incident_path(home, open_platform(home))
