"""The parts that decide what is told of traffic and tell it, as the deployment has them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from city_platform.deployment import PUBLIC_URL, deployment
from city_platform.deployment.traffic import open_registry, open_state
from city_platform.ports import Claims, Clock, Notifier

if TYPE_CHECKING:
    from city_platform.traffic.routes import Channel, Routes
    from city_platform.traffic.routing import Router
    from city_platform.traffic.watch import Watch

ROUTES = "CITY_PLATFORM_TRAFFIC_ROUTES"
SMS_TOPIC = "CITY_PLATFORM_SMS_TOPIC"
SLACK_WEBHOOK = "CITY_PLATFORM_SLACK_WEBHOOK"  # the address itself; a secret
SLACK_SECRET = "CITY_PLATFORM_SLACK_WEBHOOK_SECRET"  # noqa: S105 where AWS keeps the address, not the address
NOBODY = "none"  # instead of a secret: nobody is told by Slack, and the deployment says so
_MOST_BYTES = 1_000_000  # of a table of routes


def open_watch(home: Path, clock: Clock, environ: Mapping[str, str] = os.environ) -> "Watch":
    """Who judges the traffic state of `home`, or of the table that the environment names. Raises IncompleteSettings."""
    from city_platform.traffic.cost import SHARDS_AT_LEAST
    from city_platform.traffic.roads import generate_roads
    from city_platform.traffic.telling import Teller, zone_pages
    from city_platform.traffic.watch import Watch

    registry = open_registry(environ)
    teller = Teller(zone_pages(environ.get(PUBLIC_URL)), SHARDS_AT_LEAST)
    free_flow = generate_roads(registry).free_flow_x10
    return Watch(registry, open_state(home, environ), free_flow, teller, lambda: int(clock.now().timestamp() * 1000))


def open_router(home: Path, clock: Clock, environ: Mapping[str, str] = os.environ) -> "Router":
    """Who tells people. On this machine channels write to `traffic/sent.jsonl`, and Slack where a webhook is named.

    Raises BadRoutes, and IncompleteSettings where a channel that the routes use is not set up.
    """
    from city_platform.traffic.routing import Router

    routes = open_routes(environ)
    if environ.get(SLACK_SECRET) == NOBODY:
        from city_platform.traffic.routes import Channel

        routes = routes.without(Channel.SLACK)
    channels, claims = (_aws if deployment(environ) == "aws" else _local)(home, clock, environ, routes)
    return Router(routes, channels, claims, clock, uuid4().hex)


def open_routes(environ: Mapping[str, str] = os.environ) -> "Routes":
    """The table of routes of the package, or of the file that the environment names. Raises BadRoutes."""
    from city_platform.traffic.routes import BadRoutes, load_routes

    if not environ.get(ROUTES):
        return load_routes()
    file = Path(environ[ROUTES])
    try:
        with file.open("rb") as reader:
            data = reader.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise BadRoutes(f"{file} is larger than {_MOST_BYTES:,} bytes: a table of routes is small")
        return load_routes(data.decode("utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise BadRoutes(f"{file} ({ROUTES}) cannot be read: {error}") from error


def _local(
    home: Path, clock: Clock, environ: Mapping[str, str], _routes: "Routes"
) -> "tuple[Mapping[Channel, Notifier], Claims]":
    from city_platform.local.claims import SqliteClaims
    from city_platform.local.notifier import FileNotifier
    from city_platform.traffic.routes import Channel
    from city_platform.traffic.slack import SlackNotifier

    sent = FileNotifier(home / "traffic" / "sent.jsonl", clock)
    channels: dict[Channel, Notifier] = dict.fromkeys(Channel, sent)
    if webhook := environ.get(SLACK_WEBHOOK):
        channels[Channel.SLACK] = SlackNotifier(lambda: webhook)
    return channels, SqliteClaims(home / "traffic" / "claims.sqlite", clock)


def _aws(
    _home: Path, clock: Clock, environ: Mapping[str, str], routes: "Routes"
) -> "tuple[Mapping[Channel, Notifier], Claims]":
    from city_platform.aws.claims import DynamoDBClaims
    from city_platform.aws.incidents import IncidentTables, dynamodb_client
    from city_platform.aws.notifier import SnsNotifier, sns_client
    from city_platform.aws.secrets import read_secret
    from city_platform.aws.settings import AwsSettings
    from city_platform.deployment.incidents import TABLES
    from city_platform.traffic.routes import Channel
    from city_platform.traffic.slack import SlackNotifier

    settings = AwsSettings.of(environ)
    place = (settings.region, settings.endpoint)
    needed = {TABLES: "what the names of its tables begin with"}
    if Channel.SMS in routes.channels:
        needed[SMS_TOPIC] = "the SNS topic of text messages, which routes use"
    if Channel.SLACK in routes.channels and not environ.get(SLACK_WEBHOOK):
        needed[SLACK_SECRET] = (
            f"the secret that holds Slack's webhook, which routes use; {NOBODY}: nobody is told there"
        )
    _need(environ, needed)
    webhook = environ.get(SLACK_WEBHOOK)
    channels: dict[Channel, Notifier] = {
        Channel.EMAIL: SnsNotifier(settings.alerts_topic, lambda: sns_client(*place)),
        Channel.SMS: SnsNotifier(environ.get(SMS_TOPIC, ""), lambda: sns_client(*place)),
        Channel.SLACK: SlackNotifier(lambda: webhook or read_secret(environ[SLACK_SECRET], *place)),
    }
    return channels, DynamoDBClaims(IncidentTables(environ[TABLES]).marks, clock, lambda: dynamodb_client(*place))


def _need(environ: Mapping[str, str], needed: Mapping[str, str]) -> None:
    from city_platform.aws.settings import IncompleteSettings

    missing = [f"{name} ({what})" for name, what in needed.items() if not environ.get(name)]
    if missing:
        raise IncompleteSettings(f"a deployment on AWS needs in its environment: {', '.join(missing)}")
