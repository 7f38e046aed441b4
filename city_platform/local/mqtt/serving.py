"""A broker and the bridge from it to the stream, run together until they are told to end."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from mqttium.api import Message

from city_platform.local.mqtt.bridge import Bridge
from city_platform.local.mqtt.certificates import Authority
from city_platform.local.mqtt.embedded import EmbeddedBroker, acknowledge
from city_platform.local.mqtt.mosquitto import Mosquitto, Subscription
from city_platform.traffic.gateway import Counts
from city_platform.traffic.registry import Registry
from city_platform.traffic.stream import EventStream
from city_platform.traffic.topics import ENVIRONMENT

DRAIN_S = 20.0  # at the end, for what is held to reach the stream


@dataclass(frozen=True, slots=True)
class Served:
    """What went through. `held` messages were not acknowledged: the broker or their publishers have them."""

    port: int
    counts: Counts
    held: int
    clients_refused: int = 0
    messages_refused: int = 0

    def to_json(self) -> dict[str, Any]:
        refused = {"clients_refused": self.clients_refused, "messages_refused": self.messages_refused}
        return {"port": self.port, **asdict(self.counts), "held": self.held, **refused}


async def serve_embedded(
    authority: Authority, stream: EventStream, port: int, ready: Callable[[int], None], end: asyncio.Event
) -> Served:
    """Runs the built-in broker until `end`. Raises PortTaken, StreamRefused."""
    bridge: Bridge[asyncio.Future[None]] = Bridge(stream, acknowledge)
    broker = EmbeddedBroker(authority, bridge, ENVIRONMENT, port)
    await broker.start()
    try:
        ready(broker.port)
        await _run(bridge.run(), bridge.end, broker.stop_listening, end)
    finally:
        await broker.close()
    return Served(
        broker.port, bridge.gateway.counts, bridge.gateway.held, broker.refusals.clients, broker.refusals.messages
    )


async def serve_mosquitto(
    authority: Authority,
    registry: Registry,
    stream: EventStream,
    port: int,
    ready: Callable[[int], None],
    end: asyncio.Event,
) -> Served:
    """Runs mosquitto until `end`. Raises NoMosquitto, BrokerUnavailable, StreamRefused."""
    broker = Mosquitto(authority, registry, ENVIRONMENT, port)
    await broker.start()
    try:
        subscription = Subscription(broker)
        bridge: Bridge[Message] = Bridge(stream, subscription.acknowledge)
        await subscription.start(bridge)
        try:
            ready(broker.port)
            await _run(bridge.run(), bridge.end, subscription.stop_taking, end, subscription.ended())
        finally:
            await subscription.close()
    finally:
        await broker.close()
    return Served(broker.port, bridge.gateway.counts, bridge.gateway.held)


def on_signals(end: asyncio.Event) -> None:
    """Has Ctrl-C and SIGTERM set the event."""
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end.set)


async def _run(
    work: Coroutine[Any, Any, None],
    finish: Callable[[], None],
    take_no_more: Callable[[], None],
    end: asyncio.Event,
    lost: Awaitable[None] | None = None,
) -> None:
    """Works until `end`, then takes no more and is given DRAIN_S to get through; raises what work or `lost` do."""
    working = asyncio.ensure_future(work)
    told = asyncio.ensure_future(end.wait())
    losing = [asyncio.ensure_future(lost)] if lost is not None else []
    try:
        done, _ = await asyncio.wait([working, told, *losing], return_when=asyncio.FIRST_COMPLETED)
        if told in done:
            take_no_more()
            finish()
            with suppress(TimeoutError):
                await asyncio.wait_for(working, DRAIN_S)
        else:
            for task in done:
                task.result()
    finally:
        tasks = [working, told, *losing]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
