"""The kerb's end of MQTT: edge gateways with a connection each, which publish for the sensors of their zones."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from mqttium import ConnectRefusedError, MQTTError, MQTTProtocolVersion, PublishRejectedError
from mqttium.api import AsyncClient, PublishReceipt, ReconnectPolicy
from numpy.typing import NDArray

from city_platform.errors import PermanentError, TransientError
from city_platform.local.mqtt.certificates import Authority
from city_platform.traffic.topics import Source

_CONNECTING_AT_ONCE = 16
_CONNECT_S = 30.0
_SLOWEST_MS = 60_000
_IN_FLIGHT = 2_000  # messages of one connection that wait for their acknowledgement
_IN_FLIGHT_BYTES = 16 << 20
_VERSIONS = (MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311)


class NoBroker(TransientError):
    """Nobody answers where the broker should be."""


class NotLetIn(PermanentError):
    """The broker does not know this client's certificate or name."""


@dataclass(slots=True)
class Delivery:
    """What became of what was published, in messages and in the readings in them.

    `latency_ms` counts acknowledged messages by the milliseconds it took, the last for all that took longer.
    """

    messages: int = 0
    readings: int = 0
    acknowledged: int = 0
    acknowledged_readings: int = 0
    refused: int = 0
    refused_readings: int = 0
    latency_ms: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_SLOWEST_MS + 1, dtype=np.int64))

    @property
    def waiting(self) -> int:
        """Messages of which nothing is known yet."""
        return self.messages - self.acknowledged - self.refused

    def percentile_ms(self, share: float) -> int | None:
        """The milliseconds within which this share of the acknowledged messages were."""
        if not self.acknowledged:
            return None
        return int(np.searchsorted(np.cumsum(self.latency_ms), share * self.acknowledged)) + 1


class Edge:
    """Connections of edge gateways to the broker on this machine."""

    def __init__(self, authority: Authority, port: int, identities: Sequence[str]) -> None:
        self.delivery = Delivery()
        self._authority = authority
        self._port = port
        self._identities = identities
        self._clients: dict[str, AsyncClient] = {}
        self._longest = max(map(len, identities))

    async def connect(self) -> None:
        """Connects all of them. Raises NoBroker, NotLetIn."""
        protocol = await self._protocol()
        self._clients = {identity: _client(identity, protocol) for identity in self._identities}
        turns = asyncio.Semaphore(_CONNECTING_AT_ONCE)

        async def connect(identity: str) -> None:
            async with turns:
                await self._connect(self._clients[identity], identity)

        await asyncio.gather(*map(connect, self._clients))

    async def publish(self, source: Source, payload: bytes, readings: int) -> None:
        """Publishes through the gateway that serves the source's zone; waits while too much is unacknowledged."""
        self.delivery.messages += 1
        self.delivery.readings += readings
        began = time.perf_counter()
        receipt = await self._clients[self._serving(source.zone)].publish(source.topic, payload, qos=1)
        receipt.add_done_callback(partial(self._done, readings, began))

    async def settle(self, patience_s: float) -> None:
        """Waits until of every message is known what became of it, but no longer than that."""
        until = time.perf_counter() + patience_s
        while self.delivery.waiting and time.perf_counter() < until:
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        for client in self._clients.values():
            with suppress(MQTTError, OSError):
                await client.disconnect()

    def _serving(self, zone: str) -> str:
        # All identities are as long as each other: a zone's is its own name's beginning.
        return f"gw-{zone}"[: self._longest]

    def _done(self, readings: int, began: float, receipt: PublishReceipt) -> None:
        error = receipt.exception()
        delivery = self.delivery
        if error is None:
            delivery.acknowledged += 1
            delivery.acknowledged_readings += readings
            delivery.latency_ms[min(int(1000 * (time.perf_counter() - began)), _SLOWEST_MS)] += 1
        elif isinstance(error, PublishRejectedError):
            delivery.refused += 1
            delivery.refused_readings += readings
        # Otherwise the connection is gone for good, for one that was lost is made again and what it left sent again.

    async def _protocol(self) -> MQTTProtocolVersion:
        """The newest version of MQTT that the broker speaks, found by clients that do not try again."""
        identity = self._identities[0]
        for protocol in _VERSIONS:
            client = AsyncClient(identity, protocol=protocol)
            try:
                await self._connect(client, identity)
            except NotLetIn:
                if protocol is _VERSIONS[-1]:
                    raise
            else:
                await client.disconnect()
                return protocol
        raise RuntimeError("there is no version to try")

    async def _connect(self, client: AsyncClient, identity: str) -> None:
        try:
            async with asyncio.timeout(_CONNECT_S):
                await client.connect("127.0.0.1", self._port, ssl=self._authority.client_context(identity))
        except ConnectRefusedError as error:
            raise NotLetIn(f"the broker on port {self._port} does not let {identity} in: {error}") from error
        except (MQTTError, OSError, TimeoutError) as error:
            raise NoBroker(
                f"no broker answers on port {self._port} ({error}): start it with `city-platform traffic gateway`"
            ) from error


def _client(identity: str, protocol: MQTTProtocolVersion) -> AsyncClient:
    return AsyncClient(
        identity,
        protocol=protocol,
        clean_start=False,
        max_outbound_inflight=_IN_FLIGHT,
        max_unacknowledged_messages=_IN_FLIGHT,
        max_unacknowledged_bytes=_IN_FLIGHT_BYTES,
        reconnect=ReconnectPolicy(initial_delay=0.2, max_delay=5.0),
    )
