"""The parts of the traffic path, as the deployment has them: the registry, the stream, the state."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from city_platform.deployment import deployment
from city_platform.traffic.registry import SEED, SENSORS, ZONES, Registry, generate

if TYPE_CHECKING:
    from city_platform.traffic.state import TrafficState

TRAFFIC_TABLE = "CITY_PLATFORM_TRAFFIC_TABLE"
REGISTRY = "CITY_PLATFORM_TRAFFIC_REGISTRY"  # seed, sensors and zones: 20260601:50000:500


def open_registry(environ: Mapping[str, str] = os.environ) -> Registry:
    """The city's sensors. Raises IncompleteSettings where the environment says something that is no registry."""
    from city_platform.aws.settings import IncompleteSettings

    said = environ.get(REGISTRY) or f"{SEED}:{SENSORS}:{ZONES}"
    try:
        seed, sensors, zones = map(int, said.split(":"))
        return generate(seed, sensors, zones)
    except ValueError as error:
        raise IncompleteSettings(
            f"{REGISTRY}={said!r} is not seed:sensors:zones, such as {SEED}:{SENSORS}:{ZONES}: {error}"
        ) from error


def open_state(home: Path, environ: Mapping[str, str] = os.environ, *, durable: bool = True) -> "TrafficState":
    """The state of traffic: a file below `home`, or the DynamoDB table that the environment names.

    Raises IncompleteSettings. `durable` as SqliteTrafficState has it.
    """
    if deployment(environ) == "aws":
        from city_platform.aws.settings import AwsSettings, IncompleteSettings
        from city_platform.aws.traffic_state import DynamoTrafficState, dynamodb_client

        settings = AwsSettings.of(environ)
        if not environ.get(TRAFFIC_TABLE):
            raise IncompleteSettings(
                f"a deployment on AWS needs in its environment: {TRAFFIC_TABLE} (a DynamoDB table)"
            )
        return DynamoTrafficState(environ[TRAFFIC_TABLE], lambda: dynamodb_client(settings.region, settings.endpoint))
    from city_platform.local.traffic_state import SqliteTrafficState

    return SqliteTrafficState(_state_file(home), durable)


def find_state(home: Path, environ: Mapping[str, str] = os.environ) -> "TrafficState | None":
    """The state for who only reads: None where no traffic has been counted, and reading must not make it look so.

    Raises IncompleteSettings.
    """
    there = bool(environ.get(TRAFFIC_TABLE)) if deployment(environ) == "aws" else _state_file(home).exists()
    return open_state(home, environ, durable=False) if there else None


def _state_file(home: Path) -> Path:
    return home / "traffic" / "state.sqlite"
