"""`city-platform traffic watch` and `alerts`: decide what is told of traffic, tell it, and show what was told."""

import json
import os
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from city_platform.cli.options import Home, Json
from city_platform.cli.session import FAILED, OK, USAGE, Session, local
from city_platform.ports import BusEvent

if TYPE_CHECKING:
    from city_platform.crossing.related import Related
    from city_platform.local.event_bus import SqliteEventBus
    from city_platform.traffic.overview import Overview
    from city_platform.traffic.routes import Channel
    from city_platform.traffic.routing import Router

app = typer.Typer()


_AT_ONCE = 100  # events a channel takes before the next one has its turn
_WORDS = {
    "CongestionLevelChanged": "congestion",
    "SensorHealthChanged": "sensor",
    "ZoneCoverageLost": "zone's sensors",
    "PlatformIngestDegraded": "city's readings",
    "IncidentBecameCritical": "incident",
    "QualityGateFailed": "quality gate",
    "ExportCompleted": "export",
}

_ENDS = {"up": "lost", "down": "back", "QualityGateFailed": "closed", "ExportCompleted": "complete"}


@app.command(epilog="Examples: city-platform traffic watch --once\n\ncity-platform traffic watch --every 5")
def watch(
    once: Annotated[bool, typer.Option("--once", help="What is due now, then end.")] = False,
    every: Annotated[float, typer.Option(min=1, max=600, help="Seconds from one look to the next.")] = 5.0,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Judge each closed minute of traffic, publish what changed, and tell people by the routes.

    What three functions do on AWS. SIGTERM and Ctrl-C end it between two steps; killed at any moment, the next one goes
    on where it was, and nothing is told twice. Exit code 1 where a channel refused something for good.
    """
    from city_platform.deployment import deployment
    from city_platform.deployment.alerts import open_router, open_watch
    from city_platform.deployment.events import open_event_log
    from city_platform.deployment.traffic import open_state
    from city_platform.local.clock import SystemClock
    from city_platform.local.ending import asked_to_stop
    from city_platform.traffic.relay import relay

    session = Session.start(home, as_json=as_json)
    stop = asked_to_stop()
    done: Counter[str] = Counter(minutes=0, events=0, published=0, refused=0)
    with session.errors():
        if deployment(os.environ) != "local":
            session.fail(USAGE, "on AWS the functions traffic_watch, traffic_relay and traffic_alerts do this")
        clock = SystemClock()
        log, state = open_event_log(session.home, clock), open_state(session.home)
        router, watcher = open_router(session.home, clock), open_watch(session.home, clock)
        while not stop.is_set():
            with session.outlasting(once=once):
                judged = watcher.evaluate()
                done.update(minutes=judged.minutes, events=judged.events)
                told = relay(state, log).published
                done.update(published=told)
                if judged.minutes or told:
                    session.err.print(f"{judged.minutes} minute(s) judged, {told} event(s) told", style="dim")
                for channel in router.routes.channels:
                    done.update(_deliver(session, log, router, channel, stop))
            if once:
                break
            stop.wait(every)
    session.result(dict(done))
    if not as_json:
        sent = ", ".join(f"{name[5:]} {count}" for name, count in done.items() if name.startswith("sent_")) or "nobody"
        session.out.print(
            f"{done['minutes']:,} minutes judged, {done['published']:,} events published; told: {sent}.",
            highlight=False,
        )
    raise SystemExit(FAILED if done["refused"] else OK)


@app.command(epilog="Examples: city-platform traffic alerts --limit 50\n\ncity-platform traffic alerts --json")
def alerts(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many events.")] = 20,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show how congested zones are now and which sensors fail, as last judged, and the newest events of all kinds.

    With the incidents that explain what zones show, and those that were opened for it.
    """
    from rich.text import Text

    from city_platform.cli.table import ShownTable
    from city_platform.crossing.related import related
    from city_platform.deployment import deployment
    from city_platform.deployment.alerts import open_routes
    from city_platform.deployment.events import open_event_log
    from city_platform.deployment.traffic import open_state
    from city_platform.local.clock import SystemClock
    from city_platform.traffic.overview import overview

    session = Session.start(home, as_json=as_json)
    with session.errors():
        here = deployment(os.environ) == "local"
        state, at = open_state(session.home), SystemClock().now()
        now, relations = overview(state), related(state, round(at.timestamp() * 1000))
        # On AWS events are with whoever subscribed; the log of them is EventBridge's archive.
        newest = open_event_log(session.home, SystemClock()).newest(limit) if here else []
        timezone = open_routes().timezone
    events = [_shown(event) for event in newest]
    incidents = [{"zone": zone, **asdict(one)} for zone, some in sorted(relations.items()) for one in some]
    session.result({**now, "incidents": incidents, "events": events if here else None})
    if not as_json:
        if now["judged_at"] is None:
            session.out.print("No minute was judged yet: city-platform traffic watch")
        else:
            _print_now(session, now, local(now["judged_at"], timezone))
            _print_incidents(session, relations)
        if events:
            table = ShownTable()
            for name in ("at", "what", "where", "from", "to", "people"):
                table.add_column(name, no_wrap=True)
            for one in events:
                words = (_WORDS.get(one["event"], one["event"]), one["where"], one["from"], one["to"], one["people"])
                table.add_row(local(one["at"], timezone), *map(Text, words))
            session.out.print(table)
    raise SystemExit(OK)


def _deliver(
    session: Session, log: "SqliteEventBus", router: "Router", channel: "Channel", stop: threading.Event
) -> Mapping[str, int]:
    """Tells a channel what it has not heard. One that does not answer waits, and no other channel with it."""
    from city_platform.errors import PermanentError, TransientError
    from city_platform.traffic.events import SOURCE, TYPES
    from city_platform.traffic.routing import Delivery

    done: Counter[str] = Counter()
    subscriber = f"alerts-{channel}"
    while not stop.is_set() and (received := log.receive(subscriber, _AT_ONCE)):
        for one in received:
            if one.event.source == SOURCE and one.event.detail_type in TYPES:
                try:
                    done[f"sent_{channel}"] += router.deliver(one.event, channel) is Delivery.SENT
                except TransientError as error:
                    session.err.print(f"{channel} waits: {error}", style="yellow", markup=False, highlight=False)
                    return done
                except PermanentError as error:
                    done["refused"] += 1
                    message = f"{channel} was not told of {one.event.id}: {error}"
                    session.err.print(message, style="red", markup=False, highlight=False)
            log.dealt_with(subscriber, one.place)
    return done


def _shown(event: BusEvent) -> dict[str, Any]:
    detail = json.loads(event.detail)
    return {
        "at": event.at,
        "event": event.detail_type,
        "where": _where(detail),
        "from": str(detail.get("from") or ""),
        "to": str(detail.get("to") or _ENDS.get(detail.get("direction") or event.detail_type, "")),
        "people": _people(detail),
        "alert_id": event.id,
        "detail": detail,
    }


def _people(detail: Mapping[str, Any]) -> str:
    """Why people are not told of an event, if they are not."""
    known = ", ".join(one["public_ref"] for one in detail.get("known", ()))
    if detail.get("withheld"):
        return f"known: {known}" if known else "not told: known when it began"
    return f"told; known: {known}" if known else ""


def _where(detail: Mapping[str, Any]) -> str:
    if "dataset" in detail:
        return f"{detail['dataset']} {detail['partition']}"
    return str(detail.get("sensor_id") or detail.get("zone_id") or detail.get("public_ref") or "city")


def _print_incidents(session: Session, relations: "Mapping[str, Sequence[Related]]") -> None:
    """Each incident that has to do with traffic, with its zones."""
    zones: dict[tuple[str, str], list[str]] = {}
    for zone, some in sorted(relations.items()):
        for one in some:
            zones.setdefault((one.how, one.public_ref), []).append(zone)
    for (how, incident), where in zones.items():
        more = f" and {len(where) - 12} more" if len(where) > 12 else ""  # noqa: PLR2004 -- as above
        said = "explains" if how == "explains" else "was opened for"
        session.out.print(f"Incident {incident} {said} {', '.join(where[:12])}{more}", highlight=False)


def _print_now(session: Session, now: "Overview", at: str) -> None:
    counts = ", ".join(f"{count} {level}" for level, count in now["levels"].items())
    session.out.print(f"As of {at}: {counts}; too little is heard of {now['unknown']}.", highlight=False)
    sensors = ", ".join(f"{count:,} {health}" for health, count in now["sensors"].items())
    session.out.print(f"Sensors: {sensors}.", highlight=False)
    if now["degraded"]:
        session.out.print("[red]The readings of much of the city do not come in.[/]")
    for word, zones in {**now["zones"], "coverage lost": now["coverage_lost"]}.items():
        if zones:
            more = f" and {len(zones) - 12} more" if len(zones) > 12 else ""  # noqa: PLR2004 -- what fits two lines
            session.out.print(f"{word.capitalize()}: {', '.join(zones[:12])}{more}", highlight=False)
