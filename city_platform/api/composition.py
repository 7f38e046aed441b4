"""The API of a deployment: its parts chosen by the environment, as the command and Lambda both start it."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI

from city_platform.api import open311, open_data, traffic
from city_platform.api.app import create_app
from city_platform.api.auth import IncompleteIssuer, Issuer, OwnKeys, PublishedKeys, TokenVerifier
from city_platform.api.desk import Desk
from city_platform.api.limits import RateLimit
from city_platform.deployment import PUBLIC_URL, deployment, open_platform
from city_platform.deployment.incidents import (
    open_downloads,
    open_incident_repository,
    open_incident_service,
    open_uploads,
    require_contact,
)
from city_platform.deployment.traffic import find_state, open_registry
from city_platform.incidents.api_keys import ApiKeys
from city_platform.layers import open_incidents
from city_platform.layers.traffic_history import LakeHours
from city_platform.local.clock import SystemClock
from city_platform.local.incidents import SqliteIncidentRepository
from city_platform.local.issuer import AUDIENCE, ISSUER, LocalIssuer
from city_platform.ports import Clock

if TYPE_CHECKING:
    from city_platform.datasets import Dataset

READS_PER_WRITE = 20  # how much faster one may read than write


def open_api(
    home: Path,
    environ: Mapping[str, str] = os.environ,
    *,
    rate_limit: int = 60,
    allowed_origins: Sequence[str] = (),
    clock: Clock | None = None,
    datasets: "Sequence[Dataset]" = (),
    publish_every: float | None = None,
) -> FastAPI:
    """The application over the deployment's adapters. `rate_limit`: changes a minute from one client, 0 for no limit.

    Beside incidents it offers traffic, and the summaries of those `datasets` that are open data. With `publish_every`
    it publishes incidents itself, every so many seconds, while it runs; else a job has to.

    Raises what `open_platform` and `open_incident_service` raise, IncompleteIssuer and NobodyToWriteTo.
    """
    platform = open_platform(home, environ, clock)
    repository = open_incident_repository(home, platform.clock, environ)
    service = open_incident_service(platform, repository, environ)
    require_contact(service.reference, environ)
    desk = Desk(
        service=service,
        verifier=open_verifier(home, environ, platform.clock),
        writes=RateLimit(rate_limit, platform.clock),
        reads=RateLimit(rate_limit * READS_PER_WRITE, platform.clock),
        store=platform.lake.store,
        uploads=open_uploads(platform, environ),
        # A table of DynamoDB does not count; whoever publishes its incidents reads them all, and counts.
        counter=repository
        if isinstance(repository, SqliteIncidentRepository)
        else open_incidents.PublishedCounts(platform.lake),
        clock=platform.clock,
    )
    public_url = environ.get(PUBLIC_URL) or None
    keys = ApiKeys(desk.store, desk.clock)
    geo_report = open311.GeoReport(desk.service, keys, desk.clock, desk.reads, desk.writes, public_url)
    shelf = open_data.Shelf(platform.lake, datasets, desk.service.reference)

    def publish() -> None:
        open_incidents.publish(platform.lake, desk.service)
        shelf.forget()

    published = open_data.router(
        open_data.OpenData(shelf, desk.reads, public_url, open_downloads(environ)),
        open_data.republishing(publish, publish_every) if publish_every is not None else None,
    )
    watched = traffic.Traffic(
        traffic.Live(lambda: open_registry(environ), lambda: find_state(home, environ), desk.clock),
        LakeHours(platform),
        desk.service.reference.zone,
    )
    routers = [open311.router(geo_report), published, traffic.router(watched)]
    routers.append(traffic.pages(watched, desk.service.reference))
    return create_app(desk, allowed_origins=allowed_origins, routers=routers)


def open_verifier(home: Path, environ: Mapping[str, str], clock: Clock) -> TokenVerifier:
    """Of the issuer that the environment names; on this machine, where it names none, of the machine's own."""
    named = Issuer.of(environ)
    if named is not None:
        issuer, jwks = named
        return TokenVerifier(issuer, PublishedKeys(jwks), clock)
    if deployment(environ) != "local":
        raise IncompleteIssuer("this deployment has to name the issuer of its tokens: see CITY_PLATFORM_OIDC_ISSUER")
    return TokenVerifier(Issuer(ISSUER, AUDIENCE), OwnKeys(local_issuer(home, clock).public_keys), clock)


def local_issuer(home: Path, clock: Clock | None = None) -> LocalIssuer:
    """The machine's own issuer of tokens, with its keys below `home`."""
    return LocalIssuer(home / "keys" / "issuer.json", clock or SystemClock())
