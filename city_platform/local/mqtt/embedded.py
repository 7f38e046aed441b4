"""The broker within this process, by amqtt: enough for a city's frames, and with nothing to install.

It has one reader, the bridge to the stream, and no subscribers: a message is not sent on but taken, and its publisher
has its acknowledgement when the stream has the record. amqtt's own way to a subscriber would not do: it gives up a
message that is not acknowledged within five seconds, which every longer outage of the stream is.
"""

import asyncio
import logging
import ssl
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field

from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import ApplicationMessage, Session
from cryptography import x509
from cryptography.x509.oid import NameOID

from city_platform.errors import PermanentError
from city_platform.local.mqtt.bridge import Bridge
from city_platform.local.mqtt.certificates import Authority
from city_platform.traffic.gateway import MAX_FRAME_BYTES
from city_platform.traffic.topics import GATEWAY, is_identity, may_publish

MOST_CONNECTIONS = 2000
_MOST_PACKET = MAX_FRAME_BYTES + 512  # with its topic
_LISTENER = "default"
_HANDSHAKE_S = 10.0
_VERSION_3_1_1 = b"\x04"
_UNSUPPORTED_VERSION = b"\x20\x03\x00\x84\x00"  # a CONNACK of MQTT 5
_log = logging.getLogger("city_platform.traffic.broker")


class PortTaken(PermanentError):
    """Somebody else listens where the broker should."""


@dataclass(eq=False)
class _Connection:
    """A client's connection, known to whatever runs for it."""

    broker: "EmbeddedBroker"
    writer: asyncio.StreamWriter
    identity: str


_connection: ContextVar[_Connection] = ContextVar("connection")


@dataclass(slots=True)
class Refusals:
    """Whom the broker sent away: no certificate it knows, or a message that its sender may not publish."""

    clients: int = 0
    messages: int = 0


@dataclass(eq=False)
class EmbeddedBroker:
    """Listens on 127.0.0.1 for clients of the authority, whose messages the bridge takes."""

    authority: Authority
    bridge: Bridge["asyncio.Future[None]"]
    environment: str
    port: int = 0  # 0: a free one, which stands here once it listens
    refusals: Refusals = field(default_factory=Refusals)
    _server: asyncio.Server | None = None
    _broker: Broker | None = None
    _connections: set["asyncio.Task[None]"] = field(default_factory=set)

    async def start(self) -> None:
        """Listens. Raises PortTaken."""
        logging.getLogger("amqtt").setLevel(logging.ERROR)  # what a client does wrong is counted here
        plugin = f"{Identity.__module__}.{Identity.__qualname__}"
        tls = self.authority.server_context()
        try:
            self._server = await asyncio.start_server(
                self._connected,
                "127.0.0.1",
                self.port,
                ssl=tls,
                ssl_handshake_timeout=_HANDSHAKE_S,
                start_serving=False,
            )
        except OSError as error:
            raise PortTaken(
                f"cannot listen on port {self.port}: {error.strerror}; choose another with --port"
            ) from error
        self.port = self._server.sockets[0].getsockname()[1]
        self._broker = Broker({"listeners": {_LISTENER: {"type": "external"}}, "plugins": {plugin: {}}})
        await self._broker.start()
        await self._server.start_serving()

    def stop_listening(self) -> None:
        """Lets no new client in. Those who are connected stay."""
        if self._server is not None:
            self._server.close()

    async def close(self) -> None:
        """Closes every connection; what was not acknowledged, its publishers send again."""
        self.stop_listening()
        if self._broker is not None:
            await self._broker.shutdown()
        for task in tuple(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        identity = _common_name(writer.get_extra_info("ssl_object"))
        if self._broker is None or task is None or identity is None or len(self._connections) >= MOST_CONNECTIONS:
            self.refusals.clients += 1
            writer.close()
            return
        self._connections.add(task)
        _connection.set(_Connection(self, writer, identity))
        try:
            bounded = _BoundedReader(reader, writer, self.bridge.room)
            await self._broker.external_connected(bounded, StreamWriterAdapter(writer), _LISTENER)
        except OSError as error:
            _log.debug("a connection of %s ended: %s", identity, error)
        finally:
            self._connections.discard(task)
            writer.close()


class _BoundedReader(StreamReaderAdapter):  # type: ignore[misc]  # amqtt publishes no types
    """Reads nothing while there is no room, so that TCP holds the publisher back, and no packet beyond the limit."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, room: asyncio.Event) -> None:
        super().__init__(reader)
        self._writer = writer
        self._room = room
        self._named = False  # whether the name of the protocol came last
        self._begun = False

    async def read(self, n: int = -1) -> bytes:
        if not 0 <= n <= _MOST_PACKET:
            raise ConnectionAbortedError(f"a packet of {n:,} bytes, more than {_MOST_PACKET:,}")
        await self._room.wait()
        data: bytes = await super().read(n)
        if not self._begun:
            if self._named and data != _VERSION_3_1_1:
                # amqtt would wait for ever for the rest of a packet that it reads by the older version's rules.
                self._writer.write(_UNSUPPORTED_VERSION)
                raise ConnectionRefusedError("a client of another version of MQTT")
            self._begun, self._named = self._named, data == b"MQTT"
        return data


class Identity(BaseAuthPlugin, BaseTopicPlugin):  # type: ignore[misc]  # the same
    """Lets in whom the certificate names, under that name alone, and no one subscribe."""

    async def authenticate(self, *, session: Session) -> bool | None:
        connection = _connection.get()
        # Under another's name, a client would take over that one's session.
        good = is_identity(connection.identity) and session.client_id == connection.identity != GATEWAY
        connection.broker.refusals.clients += not good
        session.will_flag = False  # nobody reads a last will
        session.delivered_message_queue = _Intake(connection)
        return good

    async def topic_filtering(self, **_: object) -> bool | None:
        return False


class _Intake(asyncio.Queue[ApplicationMessage]):
    """Where amqtt puts a client's messages before it acknowledges them: they are taken instead of queued."""

    def __init__(self, connection: _Connection) -> None:
        super().__init__()
        self._connection = connection

    async def put(self, item: ApplicationMessage) -> None:
        """Returns, and so has the message acknowledged, when the stream has it."""
        accepted = self._taken(item)
        if accepted is not None:
            await accepted

    def put_nowait(self, item: ApplicationMessage) -> None:
        """A message of QoS 0, which nobody acknowledges."""
        self._taken(item)

    def _taken(self, item: ApplicationMessage) -> "asyncio.Future[None] | None":
        broker, identity = self._connection.broker, self._connection.identity
        accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if may_publish(identity, item.topic, broker.environment) and broker.bridge.take(
            item.topic, bytes(item.data), accepted
        ):
            return accepted
        broker.refusals.messages += 1
        _log.warning("%s may not publish on %.200r, or not that much: its connection is closed", identity, item.topic)
        self._connection.writer.transport.abort()  # MQTT 3.1.1 has no other way to say so
        return None


async def acknowledge(accepted: Sequence["asyncio.Future[None]"]) -> None:
    """What the bridge of an embedded broker does with what the stream has."""
    for one in accepted:
        if not one.done():  # its client has gone
            one.set_result(None)


def _common_name(tls: ssl.SSLObject | None) -> str | None:
    der = tls.getpeercert(binary_form=True) if tls else None
    if not der:
        return None
    names = x509.load_der_x509_certificate(der).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else None
