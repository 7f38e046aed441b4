"""Mosquitto as a child of this process, and the bridge's subscription to it: for a city of single messages.

Mosquitto acknowledges a publisher when it has the message itself, in memory and, from time to time, in its file. It
sends it on to the bridge's session and keeps it until the bridge, once the stream has the record, acknowledges it; a
bridge that starts again finds what is left. It would go on taking messages while the stream is gone, so it is stopped
(SIGSTOP) for as long: TCP holds its publishers back, and nothing outgrows memory.
"""

import asyncio
import getpass
import logging
import os
import shutil
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from mqttium import MQTTError, MQTTProtocolVersion, NotConnectedError, ProtocolError
from mqttium.api import AsyncClient, Message, Properties, ReconnectPolicy

from city_platform.errors import PermanentError, TransientError
from city_platform.local.mqtt.bridge import Bridge
from city_platform.local.mqtt.certificates import SERVER, Authority
from city_platform.traffic.gateway import HELD_MESSAGES, MAX_FRAME_BYTES
from city_platform.traffic.registry import Registry
from city_platform.traffic.topics import GATEWAY, edge_identities, subscriptions

OUTAGE_S = 5.0  # of the stream, after which the broker is stopped
LOOK_S = 0.5
START_S = 10.0
_END_S = 10.0
_SESSION_S = 7 * 86_400
_FOLDER = "mosquitto"
_log = logging.getLogger("city_platform.traffic.broker")


class NoMosquitto(PermanentError):
    """Mosquitto is not installed, or does not start as it is told to."""


class BrokerUnavailable(TransientError):
    """The broker does not answer."""


@dataclass(eq=False)
class Mosquitto:
    """The broker's process, on 127.0.0.1, for clients of the authority."""

    authority: Authority
    registry: Registry
    environment: str
    port: int = 0
    _process: asyncio.subprocess.Process | None = None
    _held: bool = False

    async def start(self) -> None:
        """Returns when it listens. Raises NoMosquitto."""
        program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
        if program is None:
            raise NoMosquitto("mosquitto is not installed: apt-get install mosquitto, or use --broker amqtt")
        self.port = self.port or _free_port()
        settings, log = self._settings()
        await _end_left_over(settings)
        with log.open("ab") as errors:
            self._process = await asyncio.create_subprocess_exec(
                program, "-c", str(settings), stdout=errors, stderr=errors, start_new_session=True
            )
        _write(settings.with_suffix(".pid"), [str(self._process.pid)])
        deadline = asyncio.get_running_loop().time() + START_S
        while asyncio.get_running_loop().time() < deadline and self._process.returncode is None:
            answers = False
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                answers = True
            await asyncio.sleep(0.05)
            if answers and self._process.returncode is None:  # else somebody else listens there
                return
        await self.close()
        raise NoMosquitto(
            f"mosquitto does not listen on port {self.port}: what it says is in {log}; another port may help (--port)"
        )

    async def ended(self) -> int:
        """Waits for the process to end by itself; its exit code."""
        if self._process is None:
            raise RuntimeError("the broker was not started")
        return await self._process.wait()

    def hold(self, *, held: bool) -> None:
        """Stops the process where it stands, or lets it go on."""
        if self._process is not None and self._process.returncode is None and held != self._held:
            self._process.send_signal(signal.SIGSTOP if held else signal.SIGCONT)
            self._held = held
            _log.warning("the broker %s", "is held: publishers wait" if held else "goes on")

    async def close(self) -> None:
        """Ends the process; it writes its file first."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        self.hold(held=False)
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _END_S)
        except TimeoutError:
            process.kill()
            await process.wait()

    def _settings(self) -> tuple[Path, Path]:
        """Writes what the broker is told; its file and the log's."""
        folder = self.authority.folder / _FOLDER
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        rights, settings, log = (folder / name for name in ("rights", "mosquitto.conf", "mosquitto.log"))
        identity = self.authority.identity_file(SERVER)
        _write(rights, self._rights())
        _write(
            settings,
            [
                f"listener {self.port} 127.0.0.1",
                f"cafile {self.authority.authority_file()}",
                f"certfile {identity}",
                f"keyfile {identity}",
                "require_certificate true",
                "use_identity_as_username true",
                # Under another's name, a client would take over that one's session.
                "use_username_as_clientid true",
                "allow_anonymous false",
                f"acl_file {rights}",
                f"user {getpass.getuser()}",  # as root, it would become a user that cannot read its keys
                "set_tcp_nodelay true",
                "retain_available false",
                f"message_size_limit {MAX_FRAME_BYTES}",
                # What it cannot send on it must not drop: it is stopped before that is much.
                "max_queued_messages 0",
                "max_inflight_messages 0",
                "persistence true",
                f"persistence_location {folder}/",
                "autosave_interval 30",
                "log_dest stderr",
                "log_type error",
                "log_type warning",
                "connection_messages false",
            ],
        )
        log.touch(mode=0o600)
        return settings, log

    def _rights(self) -> list[str]:
        lines = [f"pattern write city/{self.environment}/traffic/+/%u/telemetry", f"user {GATEWAY}"]
        lines += [f"topic read {topic}" for topic in subscriptions(self.environment)]
        for name, zones in edge_identities(self.registry).items():
            lines.append(f"user {name}")
            for zone in zones:
                lines.append(f"topic write city/{self.environment}/traffic/{zone}/frame")
                lines.append(f"topic write city/{self.environment}/traffic/{zone}/+/telemetry")
        return lines


@dataclass(eq=False)
class Subscription:
    """Brings the broker's messages to the bridge, in one session that outlives both."""

    broker: Mosquitto
    _client: AsyncClient | None = None
    _tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    async def start(self, bridge: Bridge[Message]) -> None:
        """Connects and subscribes. Raises BrokerUnavailable."""
        broker = self.broker
        self._client = client = AsyncClient(
            GATEWAY,
            protocol=MQTTProtocolVersion.MQTTv5,
            clean_start=False,
            keepalive=0,  # a broker that is held answers nothing, and is not gone
            connect_properties=Properties({"session_expiry_interval": _SESSION_S}),
            maximum_packet_size=MAX_FRAME_BYTES + 1024,
            max_inbound_inflight=min(HELD_MESSAGES, 65_535),  # unacknowledged; the broker keeps to it
            max_iterator_messages=HELD_MESSAGES,
            max_iterator_bytes=None,
            manual_ack=True,
            reconnect=ReconnectPolicy(initial_delay=0.2, max_delay=5.0),
        )
        try:
            async with asyncio.timeout(START_S):  # by itself, the client would try for ever
                await client.connect("127.0.0.1", broker.port, ssl=broker.authority.client_context(GATEWAY))
                for topic in subscriptions(broker.environment):
                    await client.subscribe(topic, qos=1)
        except (MQTTError, OSError, TimeoutError) as error:
            raise BrokerUnavailable(f"mosquitto does not let the gateway in on port {broker.port}: {error}") from error
        self._tasks = [asyncio.create_task(self._take(client, bridge)), asyncio.create_task(self._watch(bridge))]

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        """Tells the broker what the stream has. What a lost connection keeps from it comes again, and is known."""
        if self._client is None:
            return
        for message in messages:
            try:
                await self._client.ack(message)
            except (NotConnectedError, ProtocolError):
                return

    async def ended(self) -> None:
        """Waits for the broker or the connection to it to end, which neither should. Raises BrokerUnavailable."""
        process = asyncio.create_task(self.broker.ended())
        done, waiting = await asyncio.wait([process, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        process.cancel()
        if process in done:
            raise BrokerUnavailable(f"mosquitto ended with exit code {process.result()}; its log says why")
        for task in done - waiting:
            if not task.cancelled():
                task.result()

    def stop_taking(self) -> None:
        """Takes nothing more; what was taken can still be acknowledged."""
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        self.stop_taking()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._client is not None:
            with suppress(MQTTError, OSError):
                await self._client.disconnect()

    async def _take(self, client: AsyncClient, bridge: Bridge[Message]) -> None:
        async for message in client.messages():
            if not bridge.take(message.topic, message.payload, message):
                raise BrokerUnavailable(f"the broker sent what nobody subscribed to: {message.topic!r:.200}")
            if not bridge.room.is_set():
                await bridge.room.wait()
        raise BrokerUnavailable("mosquitto has closed the gateway's connection for good")

    async def _watch(self, bridge: Bridge[Message]) -> None:
        """Holds the broker while the stream is gone."""
        while True:
            self.broker.hold(held=bridge.out_s > OUTAGE_S)
            await asyncio.sleep(LOOK_S)


async def _end_left_over(settings: Path) -> None:
    """Ends a broker whose gateway was killed: it still has the port, and writes what it has to its file."""
    try:
        pid = int(settings.with_suffix(".pid").read_text(encoding="utf-8"))
        until = asyncio.get_running_loop().time() + _END_S
        for number in (signal.SIGTERM, signal.SIGCONT):
            if str(settings) in Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8"):  # nobody else's process
                os.kill(pid, number)
        while Path(f"/proc/{pid}/cmdline").read_bytes():  # nothing in it: it has ended, and nobody has asked yet
            if asyncio.get_running_loop().time() > until:
                raise NoMosquitto(f"mosquitto of an earlier gateway does not end: end its process {pid}")
            await asyncio.sleep(0.05)
    except (OSError, ValueError):
        return  # there is none


def _write(path: Path, lines: Sequence[str]) -> None:
    path.touch(mode=0o600)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
