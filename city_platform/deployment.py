"""Which set of adapters this process works with: the embedded default, or AWS."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from city_platform.errors import PermanentError
from city_platform.layers.platform import Platform
from city_platform.local.clock import SystemClock
from city_platform.local.platform import local_platform
from city_platform.ports import Clock, Uploads

if TYPE_CHECKING:
    from city_platform.incidents.reference import Reference
    from city_platform.incidents.repository import IncidentRepository
    from city_platform.incidents.service import IncidentService

DEPLOYMENT = "CITY_PLATFORM_DEPLOYMENT"
DEPLOYMENTS = ("local", "aws")
REFERENCE = "CITY_PLATFORM_REFERENCE"
BOUNDARIES = "CITY_PLATFORM_BOUNDARIES"
TABLES = "CITY_PLATFORM_TABLES"
SERVICE_KEY = "alias/city-platform/incidents/service"  # wraps the secret that signs cursors and upload addresses


class UnknownDeployment(PermanentError):
    """The environment names a deployment there is none of."""


def open_platform(home: Path, environ: Mapping[str, str] = os.environ, clock: Clock | None = None) -> Platform:
    """The adapters that `CITY_PLATFORM_DEPLOYMENT` names: `local` (also where it says nothing) or `aws`.

    Dev, staging and production are the same set with other settings. Cheap: opens no connection. Raises
    UnknownDeployment, IncompleteSettings.
    """
    if deployment(environ) == "local":
        return local_platform(home, clock)
    # Only a deployment on AWS pays for importing its client.
    from city_platform.aws.platform import aws_platform
    from city_platform.aws.settings import AwsSettings

    return aws_platform(home, AwsSettings.of(environ), clock or SystemClock())


def deployment(environ: Mapping[str, str]) -> str:
    """The name of the deployment, one of DEPLOYMENTS; raises UnknownDeployment."""
    name = environ.get(DEPLOYMENT) or "local"
    if name not in DEPLOYMENTS:
        raise UnknownDeployment(f"{DEPLOYMENT}={name!r} is none of: {', '.join(DEPLOYMENTS)}")
    return name


def open_incident_repository(home: Path, clock: Clock, environ: Mapping[str, str] = os.environ) -> "IncidentRepository":
    """The store of incidents: a file below `home`, or DynamoDB. Opens no connection."""
    if deployment(environ) == "aws":
        from city_platform.aws.incidents import DynamoDBIncidentRepository, IncidentTables, dynamodb_client
        from city_platform.aws.settings import AwsSettings, IncompleteSettings

        settings = AwsSettings.of(environ)
        if not environ.get(TABLES):
            raise IncompleteSettings(
                f"a deployment on AWS needs in its environment: {TABLES} (what its tables begin with)"
            )
        tables = IncidentTables(environ[TABLES])
        return DynamoDBIncidentRepository(tables, clock, lambda: dynamodb_client(settings.region, settings.endpoint))
    from city_platform.local.incidents import SqliteIncidentRepository

    return SqliteIncidentRepository(home / "incidents" / "incidents.sqlite", clock)


def open_incident_service(
    platform: Platform, repository: "IncidentRepository", environ: Mapping[str, str] = os.environ
) -> "IncidentService":
    """The incident service over the platform's keys, with the city's reference and boundaries from the environment.

    On this machine it makes the keys it needs at the first start; elsewhere the infrastructure has made them. Raises
    BadReference and the errors of the key service and the object store.
    """
    from city_platform.incidents.contact import CONTACT_KEY
    from city_platform.incidents.cursor import Cursors
    from city_platform.incidents.service import IncidentService

    reference = open_reference(environ)
    platform.keys.ensure(CONTACT_KEY)
    secret = incident_secret(platform)
    return IncidentService(repository, reference, platform.keys, platform.clock, Cursors(secret))


def open_reference(environ: Mapping[str, str] = os.environ) -> "Reference":
    """What the city says of itself, from the files that the environment names, else as shipped. Raises BadReference."""
    from city_platform.incidents.reference import load_reference

    files = [Path(environ[name]) if environ.get(name) else None for name in (REFERENCE, BOUNDARIES)]
    return load_reference(*files)


def open_uploads(platform: Platform, environ: Mapping[str, str] = os.environ) -> Uploads:
    """How clients hand in pictures: to an address of the API that this machine signs, or to the bucket."""
    if deployment(environ) == "aws":
        from city_platform.aws.settings import AwsSettings
        from city_platform.aws.uploads import S3Uploads, s3_client

        settings = AwsSettings.of(environ)
        return S3Uploads(settings.bucket, platform.clock, lambda: s3_client(settings.region, settings.endpoint))
    from city_platform.local.uploads import SignedUploads

    return SignedUploads(incident_secret(platform), platform.clock)


def incident_secret(platform: Platform) -> bytes:
    """32 bytes that sign what the incident API hands out, the same for every process of the deployment."""
    from city_platform.protection.secret import kept_secret

    platform.keys.ensure(SERVICE_KEY)
    place = "protection/incidents/service-secret"
    return kept_secret(platform.keys, platform.lake.store, place, SERVICE_KEY, {"purpose": "incident-service"})
