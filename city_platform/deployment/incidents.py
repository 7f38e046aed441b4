"""The parts of the incident path, as the deployment has them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from city_platform.deployment import PUBLIC_URL, deployment
from city_platform.deployment.events import open_event_bus
from city_platform.errors import PermanentError
from city_platform.ports import Claims, Clock, Downloads, Queue, Uploads

if TYPE_CHECKING:
    from city_platform.incidents.dead_letters import DeadLetters, Undelivered
    from city_platform.incidents.export import IncidentExport
    from city_platform.incidents.processor import StreamProcessor
    from city_platform.incidents.reference import Reference
    from city_platform.incidents.repository import IncidentRepository
    from city_platform.incidents.service import IncidentService
    from city_platform.layers.platform import Platform

REFERENCE = "CITY_PLATFORM_REFERENCE"
BOUNDARIES = "CITY_PLATFORM_BOUNDARIES"
TABLES = "CITY_PLATFORM_TABLES"
CONTACT = "CITY_PLATFORM_CONTACT"  # the mailbox for questions about the city's interfaces and data
SERVICE_KEY = "alias/city-platform/incidents/service"  # wraps the secret that signs cursors and upload addresses


def open_incident_repository(home: Path, clock: Clock, environ: Mapping[str, str] = os.environ) -> "IncidentRepository":
    """The store of incidents: a file below `home`, or DynamoDB. Opens no connection."""
    if deployment(environ) == "aws":
        from city_platform.aws.incidents import DynamoDBIncidentRepository, IncidentTables, dynamodb_client
        from city_platform.aws.settings import AwsSettings

        settings = AwsSettings.of(environ)
        tables = IncidentTables(_tables(environ))
        return DynamoDBIncidentRepository(tables, clock, lambda: dynamodb_client(settings.region, settings.endpoint))
    from city_platform.local.incidents import SqliteIncidentRepository

    return SqliteIncidentRepository(home / "incidents" / "incidents.sqlite", clock)


def open_incident_service(
    platform: "Platform", repository: "IncidentRepository", environ: Mapping[str, str] = os.environ
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
    """What the city says of itself, from the files and the mailbox that the environment names, else as shipped.

    Raises BadReference.
    """
    from city_platform.incidents.reference import load_reference

    files = [Path(environ[name]) if environ.get(name) else None for name in (REFERENCE, BOUNDARIES)]
    reference = load_reference(*files)
    return reference.with_contact(environ[CONTACT]) if environ.get(CONTACT) else reference


def require_contact(reference: "Reference", environ: Mapping[str, str] = os.environ) -> None:
    """A service that the public finds names a mailbox that somebody reads. Raises NobodyToWriteTo.

    One on this machine without a public address may do without.
    """
    is_public = deployment(environ) != "local" or environ.get(PUBLIC_URL)
    if is_public and not reference.city.is_reachable:
        raise NobodyToWriteTo(
            f"people are told to write to {reference.city.contact}, which nobody can read: "
            f"name the city's mailbox in {CONTACT}, or as `contact` in the file of {REFERENCE}"
        )


def open_uploads(platform: "Platform", environ: Mapping[str, str] = os.environ) -> Uploads:
    """How clients hand in pictures: to an address of the API that this machine signs, or to the bucket."""
    if deployment(environ) == "aws":
        from city_platform.aws.settings import AwsSettings
        from city_platform.aws.uploads import S3Uploads, s3_client

        settings = AwsSettings.of(environ)
        return S3Uploads(settings.buckets, platform.clock, lambda: s3_client(settings.region, settings.endpoint))
    from city_platform.local.uploads import SignedUploads

    return SignedUploads(incident_secret(platform), platform.clock)


def open_downloads(environ: Mapping[str, str] = os.environ) -> Downloads | None:
    """How clients get files that are too large for an answer; None where an answer may be as large as it wants."""
    if deployment(environ) != "aws":
        return None
    from city_platform.aws.downloads import S3Downloads
    from city_platform.aws.settings import AwsSettings
    from city_platform.aws.uploads import s3_client

    settings = AwsSettings.of(environ)
    return S3Downloads(settings.buckets, lambda: s3_client(settings.region, settings.endpoint))


def incident_secret(platform: "Platform") -> bytes:
    """32 bytes that sign what the incident API hands out, the same for every process of the deployment."""
    from city_platform.protection.secret import kept_secret

    platform.keys.ensure(SERVICE_KEY)
    place = "protection/incidents/service-secret"
    return kept_secret(platform.keys, platform.lake.store, place, SERVICE_KEY, {"purpose": "incident-service"})


class NobodyToWriteTo(PermanentError):
    """A public service names no mailbox that anybody could read."""


@dataclass(frozen=True, slots=True)
class IncidentPath:
    """The way of incidents' changes to the lake: what takes them from the stream, what exports them, what is left."""

    processor: "StreamProcessor"
    export: "IncidentExport"
    jobs: Queue
    dead_jobs: Queue
    dead_letters: "DeadLetters"
    undelivered: "Undelivered | None"  # on this machine a record that its reader fails at is a dead letter

    def redrive_jobs(self, limit: int) -> int:
        """Puts dead jobs back into their queue; how many. Killed in between, one may be in both: that does no harm."""
        moved = 0
        while moved < limit and (messages := self.dead_jobs.receive(min(10, limit - moved), timedelta(minutes=1))):
            self.jobs.send([one.body for one in messages])
            self.dead_jobs.delete(messages)
            moved += len(messages)
        return moved


def open_incident_path(home: Path, platform: "Platform", environ: Mapping[str, str] = os.environ) -> IncidentPath:
    """Its parts over the platform's lake. Queues lie below `home`, or are those of SQS whose names begin with TABLES.

    Raises BadReference, IncompleteSettings, and the errors of the key service and the object store.
    """
    from functools import lru_cache, partial

    from city_platform.contracts.model import Classification
    from city_platform.incidents.alerts import AlertDesk
    from city_platform.incidents.dead_letters import DeadLetters
    from city_platform.incidents.export import DATASET, LEASE, IncidentExport
    from city_platform.incidents.processor import StreamProcessor
    from city_platform.incidents.retention import forget
    from city_platform.incidents.segments import Segments
    from city_platform.protection.classification import master_key
    from city_platform.protection.masking import pseudonym_key, pseudonymizer

    claims, jobs, dead_jobs, dead = _queues(home, platform.clock, environ)
    bus = open_event_bus(home, platform.clock, environ)
    store = platform.lake.store
    platform.keys.ensure(master_key(DATASET, Classification.PERSONAL))
    key = pseudonym_key(platform.keys, store, DATASET)
    page = (environ.get(PUBLIC_URL) or "http://127.0.0.1:8000").rstrip("/")
    alerts = AlertDesk(
        claims=claims,
        notifier=platform.notifier,
        bus=bus,
        clock=platform.clock,
        reference=open_reference(environ),
        link=lambda incident_id: f"{page}/incidents/{incident_id}",
        holder=uuid4().hex,
    )
    letters = DeadLetters(dead, store)
    # On this machine an export is killed with its machine, and the next one should not wait long.
    lease = LEASE if deployment(environ) == "aws" else timedelta(minutes=1)
    # Most changes of a batch are of few reporters; the bound is some megabytes.
    pseudonym = lru_cache(maxsize=10_000)(pseudonymizer(key, f"{DATASET}/reporter"))
    return IncidentPath(
        processor=StreamProcessor(
            segments=Segments(store),
            jobs=jobs,
            dead_letters=letters,
            alerts=alerts,
            pseudonym=pseudonym,
            forget=partial(forget, open_incident_repository(home, platform.clock, environ), store),
        ),
        export=IncidentExport(platform.lake, jobs, claims, platform.notifier, bus, platform.clock, lease),
        jobs=jobs,
        dead_jobs=dead_jobs,
        dead_letters=letters,
        undelivered=_undelivered(environ),
    )


def compact_local(home: Path) -> None:
    """Writes this machine's files of incidents anew, so that what was removed stands in none of their free pages."""
    from city_platform.local.clock import SystemClock
    from city_platform.local.incidents import SqliteIncidentRepository
    from city_platform.local.queue import SqliteQueue

    clock = SystemClock()
    SqliteIncidentRepository(home / "incidents" / "incidents.sqlite", clock).compact()
    SqliteQueue(home / "incidents" / "queues.sqlite", "incident-exports", clock).compact()


def _queues(home: Path, clock: Clock, environ: Mapping[str, str]) -> tuple[Claims, Queue, Queue, Queue]:
    names = ("incident-exports", "incident-exports-dead", "incident-changes-dead")
    if deployment(environ) == "aws":
        from city_platform.aws.claims import DynamoDBClaims
        from city_platform.aws.incidents import IncidentTables, dynamodb_client
        from city_platform.aws.queue import SqsQueue, sqs_client
        from city_platform.aws.settings import AwsSettings

        settings = AwsSettings.of(environ)
        prefix = _tables(environ)
        place = (settings.region, settings.endpoint)
        claims = DynamoDBClaims(IncidentTables(prefix).marks, clock, lambda: dynamodb_client(*place))
        jobs, dead_jobs, dead = (SqsQueue(f"{prefix}-{name}", lambda: sqs_client(*place)) for name in names)
        return claims, jobs, dead_jobs, dead
    from city_platform.local.claims import SqliteClaims
    from city_platform.local.queue import SqliteQueue

    path = home / "incidents" / "queues.sqlite"
    return (
        SqliteClaims(path.with_name("claims.sqlite"), clock),
        SqliteQueue(path, names[0], clock, dead_letters=names[1]),
        SqliteQueue(path, names[1], clock),
        SqliteQueue(path, names[2], clock),
    )


def _undelivered(environ: Mapping[str, str]) -> "Undelivered | None":
    if deployment(environ) == "local":
        return None
    from city_platform.aws.queue import SqsQueue, sqs_client
    from city_platform.aws.settings import AwsSettings
    from city_platform.aws.undelivered import UndeliveredChanges, stream_client

    settings = AwsSettings.of(environ)
    place = (settings.region, settings.endpoint)
    queue = SqsQueue(f"{_tables(environ)}-incident-changes-undelivered", lambda: sqs_client(*place))
    return UndeliveredChanges(queue, lambda service: stream_client(service, *place))


def _tables(environ: Mapping[str, str]) -> str:
    from city_platform.aws.settings import IncompleteSettings

    if not environ.get(TABLES):
        raise IncompleteSettings(
            f"a deployment on AWS needs in its environment: {TABLES} (what its tables' and queues' names begin with)"
        )
    return environ[TABLES]
