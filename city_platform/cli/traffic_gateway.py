"""`city-platform traffic gateway`: a broker on this machine, and the gateway from it to the stream."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from city_platform.cli.session import OK, Session

app = typer.Typer()
PORT = 8883  # MQTT over TLS, as IANA has it


class BrokerKind(StrEnum):
    """The brokers there are."""

    amqtt = "amqtt"
    mosquitto = "mosquitto"


@app.command(epilog="Example: city-platform traffic gateway --broker mosquitto")
def gateway(
    broker: Annotated[
        BrokerKind, typer.Option(help="amqtt is built in; mosquitto carries single messages of a whole city.")
    ] = BrokerKind.amqtt,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = PORT,
    home: Annotated[Path | None, typer.Option("--home", help="Where data lives. Keys are made there.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output, at the end.")] = False,
) -> None:
    """Run an MQTT broker on this machine's loopback address and bring what is published into the stream.

    Clients need certificates of this machine's authority, made at the first start; a sensor publishes on its own topics
    and an edge gateway on those of its zones. What the stream does not accept yet is held, and publishers wait. Until
    Ctrl-C or SIGTERM, which first bring what is held into the stream.
    """
    import asyncio

    import uvloop

    from city_platform.deployment.traffic import open_registry, open_stream
    from city_platform.local.clock import SystemClock
    from city_platform.local.mqtt.certificates import Authority
    from city_platform.local.mqtt.serving import Served, on_signals, serve_embedded, serve_mosquitto

    # The client of mosquitto does not run in uvloop; the built-in broker is faster in it.
    loop = asyncio if broker is BrokerKind.mosquitto else uvloop
    session = Session.start(home, as_json=as_json)

    def ready(listening: int) -> None:
        session.err.print(
            f"{broker.value} listens on 127.0.0.1:{listening} (MQTT over TLS), with the keys of {authority.folder}",
            soft_wrap=True,
            highlight=False,
        )

    async def serve() -> Served:
        end = asyncio.Event()
        on_signals(end)
        if broker is BrokerKind.mosquitto:
            return await serve_mosquitto(authority, registry, stream, port, ready, end)
        return await serve_embedded(authority, stream, port, ready, end)

    with session.errors():
        authority = Authority(session.home / "traffic" / "mqtt", SystemClock())
        registry, stream = open_registry(), open_stream(session.home)
        told = loop.run(serve()).to_json()
    session.result(told)
    if not as_json:
        session.out.print(
            f"{told['frames']:,} frames and {told['messages']:,} messages became {told['records']:,} records; "
            f"{told['acknowledged']:,} were acknowledged, {told['held']:,} are left to their publishers.",
            highlight=False,
        )
    raise SystemExit(OK)
