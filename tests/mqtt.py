"""Gateways over real brokers for tests, and clients as a city has them and as it should not."""

import asyncio
import os
import shutil
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mqttium import MQTTError, MQTTProtocolVersion
from mqttium.api import AsyncClient

from city_platform.local.clock import SystemClock
from city_platform.local.mqtt.certificates import Authority
from city_platform.local.mqtt.serving import Served, serve_embedded, serve_mosquitto
from city_platform.local.traffic_stream import SqliteEventStream, event_record
from city_platform.traffic.handler import TrafficHandler
from city_platform.traffic.registry import Registry
from city_platform.traffic.stream import Entry, EventStream, StreamRecord, StreamUnavailable
from tests.patience import PATIENCE_S
from tests.traffic import Letters, MemoryState

_FOUND = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
needs_mosquitto = pytest.mark.skipif(_FOUND is None, reason="mosquitto is not installed: apt-get install mosquitto")
BROKERS = ["amqtt", pytest.param("mosquitto", marks=needs_mosquitto)]


@dataclass
class FailingStream:
    """A stream that is out while `out` is set; what it accepts is on disk."""

    inner: SqliteEventStream
    out: threading.Event = field(default_factory=threading.Event)
    asked: int = 0  # puts while it was out

    def put(self, entries: Sequence[Entry]) -> Sequence[StreamUnavailable | None]:
        if self.out.is_set():
            self.asked += 1
            raise StreamUnavailable("out for a while")
        return self.inner.put(entries)

    def shards(self) -> Sequence[str]:
        return self.inner.shards()

    def read(self, shard: str, after: str | None, limit: int) -> Sequence[StreamRecord]:
        return self.inner.read(shard, after, limit)

    def everything(self) -> list[StreamRecord]:
        """All records, in the order of each key."""
        return [record for shard in self.shards() for record in self.read(shard, None, 10_000)]


@dataclass
class Running:
    """A gateway that runs: where its broker listens, whom it trusts, its stream; `served` when it has ended."""

    broker: str
    port: int
    authority: Authority
    stream: FailingStream
    task: "asyncio.Task[Served]"
    served: Served | None = None

    @asynccontextmanager
    async def connected(
        self, identity: str, *, name: str | None = None, context: ssl.SSLContext | None = None
    ) -> AsyncIterator[AsyncClient]:
        """A client with that identity's certificate, under its name or another's."""
        version = MQTTProtocolVersion.MQTTv5 if self.broker == "mosquitto" else MQTTProtocolVersion.MQTTv311
        client = AsyncClient(name or identity, protocol=version)
        async with asyncio.timeout(PATIENCE_S):
            await client.connect("127.0.0.1", self.port, ssl=context or self.authority.client_context(identity))
        try:
            yield client
        finally:
            with suppress(MQTTError, OSError):
                await client.disconnect()

    async def publish(self, identity: str, topic: str, *payloads: bytes) -> None:
        """Publishes and waits until all is acknowledged. Raises MQTTError, TimeoutError."""
        async with self.connected(identity) as client, asyncio.timeout(PATIENCE_S):
            receipts = [await client.publish(topic, payload, qos=1) for payload in payloads]
            for receipt in receipts:
                await receipt.wait()


@asynccontextmanager
async def gateway(broker: str, home: Path, registry: Registry) -> AsyncIterator[Running]:
    """A broker and its gateway, which end, drained, with the block."""
    authority = Authority(home / "mqtt", SystemClock())
    stream = FailingStream(SqliteEventStream(home / "stream.sqlite"))
    listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    end = asyncio.Event()
    if broker == "mosquitto":
        serving = serve_mosquitto(authority, registry, stream, 0, listening.set_result, end)
    else:
        serving = serve_embedded(authority, stream, 0, listening.set_result, end)
    task = asyncio.create_task(serving)
    while not listening.done():
        if task.done():
            task.result()  # why it does not run
        await asyncio.sleep(0.01)
    running = Running(broker, listening.result(), authority, stream, task)
    try:
        yield running
    finally:
        end.set()
        running.served = await asyncio.wait_for(task, PATIENCE_S)


async def until(holds: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    """Waits until it holds; fails where it does not in time."""
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.02)


Sums = dict[tuple[str, int], tuple[int, int, int]]


def counted(stream: EventStream, registry: Registry) -> tuple[Sums, Letters]:
    """What the handler makes of the stream: readings, vehicles, vehicle speed of each zone's window; dead letters."""
    state, letters = MemoryState(), Letters()
    records = [event_record(shard, record) for shard in stream.shards() for record in stream.read(shard, None, 10_000)]
    TrafficHandler(registry, state, letters, lambda: time.time_ns() // 1_000_000).handle({"Records": records})
    return {key: (one.readings, one.vehicles, one.vehicle_speed) for key, one in state.kept.items()}, letters


def true_sums(truth: Mapping[str, Any]) -> Sums:
    """The same of the truth that a simulation wrote."""
    return {
        (zone, int(start)): (one["readings"], one["vehicles"], one["vehicle_speed"])
        for zone, windows in truth["zones"].items()
        for start, one in windows.items()
    }
