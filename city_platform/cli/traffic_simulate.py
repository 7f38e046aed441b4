"""`city-platform traffic simulate`: the city's sensors, published to this machine's broker."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from city_platform.cli.options import Json
from city_platform.cli.session import FAILED, OK, REFUSED, USAGE, Session, seconds
from city_platform.cli.traffic_gateway import PORT

if TYPE_CHECKING:
    from city_platform.local.mqtt.edge import Delivery

app = typer.Typer()
SEED = 20_260_601  # of the registry that a platform has by itself


class Shape(StrEnum):
    """How readings travel."""

    frames = "frames"
    messages = "messages"


@app.command(epilog="Example: city-platform traffic simulate --sensors 50000 --rate 50000 --for 60s")
def simulate(
    sensors: Annotated[int, typer.Option(min=1, help="Sensors, spread over the city's.")] = 50_000,
    rate: Annotated[
        int | None,
        typer.Option(min=1, help="Readings a second of all of them. Default: one of each, which is the most."),
    ] = None,
    duration: Annotated[str, typer.Option("--for", help="How long: 30s, 5m, 2h. At most a day.")] = "60s",
    shape: Annotated[
        Shape, typer.Option("--as", help="A frame of each zone a second, or a message of each reading.")
    ] = Shape.frames,
    connections: Annotated[
        int, typer.Option(min=1, max=2000, help="Edge gateways at most; each serves one, ten, a hundred zones.")
    ] = 50,
    duplicates: Annotated[float, typer.Option(min=0, max=1, help="Share of readings that are sent twice.")] = 0.0,
    late: Annotated[float, typer.Option(min=0, max=1, help="Share of readings that come 1 to 30 s late.")] = 0.0,
    truth: Annotated[
        Path | None, typer.Option(help="File for what was measured, by zone and window, each reading once.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**62, help="The same seed and second, the same readings.")] = SEED,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where the broker listens on this machine.")] = PORT,
    home: Annotated[Path | None, typer.Option("--home", help="The broker's: its keys sign the gateways'.")] = None,
    as_json: Json = False,
) -> None:
    """Publish what the city's sensors measure, at QoS 1 over TLS, to the broker that `traffic gateway` runs.

    Sensors follow the hour of the day in Vancouver; incidents jam some zones, some sensors are silent and some stuck.
    It is well if every message was acknowledged.
    """
    import asyncio

    from city_platform.cli.work import advancing, progress
    from city_platform.deployment.traffic import open_registry
    from city_platform.local.clock import SystemClock
    from city_platform.local.mqtt.certificates import Authority
    from city_platform.local.mqtt.edge import Edge
    from city_platform.local.mqtt.simulating import Simulation, simulate
    from city_platform.traffic.fleet import Fleet, Transmission
    from city_platform.traffic.roads import generate_roads
    from city_platform.traffic.topics import ENVIRONMENT, edge_gateways
    from city_platform.traffic.truth import Truth

    session = Session.start(home, as_json=as_json)
    lasts = seconds(duration)
    if lasts is None:
        session.fail(USAGE, f"{duration!r} is no time: write 30s, 5m or 2h, a day at most")
    rate = sensors if rate is None else rate
    with session.errors():
        registry = open_registry()
        try:
            fleet = Fleet(generate_roads(registry), sensors, rate, seed)
        except ValueError as error:
            session.fail(USAGE, f"{error}; CITY_PLATFORM_TRAFFIC_REGISTRY names another registry")
        edge = Edge(
            Authority(session.home / "traffic" / "mqtt", SystemClock()), port, edge_gateways(registry, connections)
        )
        run = Simulation(
            fleet,
            Transmission(duplicates, late, seed),
            Truth(registry),
            edge,
            ENVIRONMENT,
            frames=shape is Shape.frames,
        )
        with progress(session) as bars:
            done = advancing(bars, bars.add_task("readings", total=rate * lasts))
            took = asyncio.run(simulate(run, lasts, lambda: done(edge.delivery.acknowledged_readings)))
        told = _told(edge.delivery, took)
        if truth is not None:
            try:
                truth.write_text(json.dumps(run.truth.to_json()), encoding="utf-8")
            except OSError as error:
                session.fail(REFUSED, f"{truth} cannot be written: {error.strerror}")
    session.result(told)
    if not as_json:
        _show(session, told)
    raise SystemExit(OK if told["readings"] == told["acknowledged_readings"] else FAILED)


def _told(delivery: "Delivery", took_s: float) -> dict[str, Any]:
    counts = ("messages", "readings", "acknowledged", "acknowledged_readings", "refused", "refused_readings")
    return {
        **{name: getattr(delivery, name) for name in counts},
        "unacknowledged": delivery.waiting,
        "seconds": round(took_s, 1),
        "readings_a_second": round(delivery.acknowledged_readings / took_s, 1) if took_s else None,
        "p50_ms": delivery.percentile_ms(0.5),
        "p99_ms": delivery.percentile_ms(0.99),
    }


def _show(session: Session, told: dict[str, Any]) -> None:
    from city_platform.cli.table import ShownTable

    table = ShownTable("", "messages", "readings")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, messages, readings in (
        ("published", "messages", "readings"),
        ("acknowledged", "acknowledged", "acknowledged_readings"),
        ("refused", "refused", "refused_readings"),
    ):
        table.add_row(name, f"{told[messages]:,}", f"{told[readings]:,}")
    session.out.print(table)
    session.out.print(
        f"{told['readings_a_second'] or 0:,} readings a second were acknowledged; half of the messages within "
        f"{told['p50_ms']} ms, 99 % within {told['p99_ms']} ms.",
        highlight=False,
    )
    if told["unacknowledged"]:
        session.err.print(f"{told['unacknowledged']:,} messages were not acknowledged", style="red")
