"""Sensors to stream through real brokers over TLS: exactly what was measured, from whom it may be, whatever fails."""

import asyncio
import os
import signal
import ssl
from contextlib import suppress
from pathlib import Path

import pytest
from mqttium import ConnectRefusedError, MQTTError, PublishRejectedError, SubscribeError

from city_platform.local.clock import SystemClock
from city_platform.local.mqtt import mosquitto
from city_platform.local.mqtt.bridge import Bridge
from city_platform.local.mqtt.certificates import Authority
from city_platform.local.mqtt.edge import Edge, NoBroker
from city_platform.local.mqtt.simulating import Simulation, simulate
from city_platform.local.traffic_stream import SqliteEventStream
from city_platform.traffic.fleet import Fleet, Transmission
from city_platform.traffic.gateway import MAX_FRAME_BYTES
from city_platform.traffic.registry import generate
from city_platform.traffic.roads import generate_roads
from city_platform.traffic.telemetry import Reason
from city_platform.traffic.topics import Source, edge_gateways
from city_platform.traffic.truth import Truth
from tests.mqtt import BROKERS, Running, counted, gateway, needs_mosquitto, true_sums, until
from tests.patience import PATIENCE_S

CITY = generate(seed=4, sensors=600, zones=30)
EDGE = "gw-z-003"
FRAME = Source("local", "z-003", None).topic
MINE = Source("local", "z-000", "s-00000")

OTHERS = b'{"sensor_id":"s-00001","seq":1,"ts":1780000000000,"vehicle_count":0,"avg_speed_kmh":null}'


# Frames through amqtt are a test of the command's.
@pytest.mark.parametrize(
    ("broker", "frames"),
    [
        ("amqtt", False),
        pytest.param("mosquitto", False, marks=needs_mosquitto),
        pytest.param("mosquitto", True, marks=needs_mosquitto),
    ],
)
def test_the_state_says_exactly_what_the_sensors_measured(broker: str, frames: bool, tmp_path: Path) -> None:
    fleet, truth = Fleet(generate_roads(CITY), 600, 300), Truth(CITY)

    async def run() -> Running:
        async with gateway(broker, tmp_path, CITY) as running:
            edge = Edge(running.authority, running.port, edge_gateways(CITY, 5))
            transmission = Transmission(duplicates=0.3, late=0.2)
            await simulate(Simulation(fleet, transmission, truth, edge, "local", frames), 1, lambda: None)
            assert edge.delivery.waiting == edge.delivery.refused == 0
            assert edge.delivery.acknowledged == edge.delivery.messages
            assert edge.delivery.readings > truth.to_json()["readings"]
        return running

    running = asyncio.run(run())
    sums, letters = counted(running.stream, CITY)
    assert letters.kept == {}
    assert sums == true_sums(truth.to_json())
    served = running.served
    assert served is not None
    assert served.held == served.counts.strange == 0
    assert served.counts.records < served.counts.messages or frames, "single messages are packed"


@pytest.mark.parametrize("broker", BROKERS)
def test_whom_the_authority_does_not_know_is_not_let_in(broker: str, tmp_path: Path) -> None:
    foreign = Authority(tmp_path / "foreign", SystemClock())

    async def run() -> Running:
        async with gateway(broker, tmp_path, CITY) as running:
            nameless = ssl.create_default_context(cafile=running.authority.authority_file())
            stranger = ssl.create_default_context(cafile=running.authority.authority_file())
            stranger.load_cert_chain(foreign.identity_file(EDGE))
            for context in (nameless, stranger):
                with pytest.raises((MQTTError, OSError)):
                    async with running.connected(EDGE, context=context) as client:
                        await (await client.publish(FRAME, b"x", qos=1)).wait()
            # Nor does a client trust a broker of another authority.
            with pytest.raises(NoBroker):
                await Edge(foreign, running.port, [EDGE]).connect()
            await running.publish(EDGE, FRAME, b"good")
        return running

    running = asyncio.run(run())
    assert [record.data for record in running.stream.everything()] == [b"good"]


@pytest.mark.parametrize("broker", BROKERS)
def test_nobody_publishes_as_another(broker: str, tmp_path: Path) -> None:
    others = Source("local", "z-000", "s-00001").topic

    async def run() -> Running:
        async with gateway(broker, tmp_path, CITY) as running:
            for identity, topic in (("s-00000", others), ("s-00000", FRAME), (EDGE, "city/local/traffic/z-004/frame")):
                with pytest.raises((MQTTError, TimeoutError)) as refused:
                    await running.publish(identity, topic, b"mine")
                assert isinstance(refused.value, PublishRejectedError) is (broker == "mosquitto")
            if broker == "amqtt":
                # Mosquitto gives a client its certificate's name, whatever it says.
                with pytest.raises(ConnectRefusedError):
                    async with running.connected("s-00000", name="s-00001"):
                        pass
                with pytest.raises(ConnectRefusedError):
                    async with running.connected("gateway"):
                        pass
            async with running.connected("s-00000") as client:
                with suppress(SubscribeError):  # or mosquitto grants it and sends nothing
                    await client.subscribe("city/#", qos=1)
                await running.publish(EDGE, FRAME, b"good")
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(anext(client.messages()), 0.2)
        return running

    running = asyncio.run(run())
    assert [record.data for record in running.stream.everything()] == [b"good"]
    assert running.served is not None
    assert running.served.messages_refused == (3 if broker == "amqtt" else 0)


@pytest.mark.parametrize("broker", BROKERS)
def test_rubbish_reaches_the_dead_letters_and_what_is_too_large_nobody(broker: str, tmp_path: Path) -> None:
    async def run() -> Running:
        async with gateway(broker, tmp_path, CITY) as running:
            await running.publish("s-00000", MINE.topic, b"\x00\xff rubbish", OTHERS)
            await running.publish(EDGE, FRAME, b"\x78\x9c rubbish", b"")
            with pytest.raises((MQTTError, OSError, TimeoutError)):
                await running.publish(EDGE, FRAME, b"x" * (MAX_FRAME_BYTES + 2000))
            await running.publish(EDGE, FRAME, b"y" * MAX_FRAME_BYTES)
        return running

    running = asyncio.run(run())
    sums, letters = counted(running.stream, CITY)
    assert sums == {}
    assert sorted(letter.reason for letter in letters.kept.values()) == sorted(
        [Reason.SCHEMA, Reason.TOPIC, Reason.COMPRESSION, Reason.SCHEMA, Reason.TOO_LARGE]
    )


@pytest.mark.parametrize("broker", BROKERS)
def test_a_stream_that_is_out_holds_publishers_back_and_loses_nothing(
    broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mosquitto, "OUTAGE_S", 0.05)
    monkeypatch.setattr(mosquitto, "LOOK_S", 0.02)
    payloads = [b"frame %d" % number for number in range(40)]

    async def run() -> Running:
        async with gateway(broker, tmp_path, CITY) as running:
            running.stream.out.set()
            async with running.connected(EDGE) as client:
                first = await client.publish(FRAME, payloads[0], qos=1)
                await until(lambda: running.stream.asked > 3)
                if broker == "mosquitto":
                    await first.wait()  # mosquitto has it, and is held now
                receipts = [await client.publish(FRAME, payload, qos=1) for payload in payloads[1:]]
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(receipts[-1].wait(), 0.3)
                assert running.stream.everything() == []
                running.stream.out.clear()
                async with asyncio.timeout(PATIENCE_S):
                    for receipt in receipts:
                        await receipt.wait()
        return running

    running = asyncio.run(run())
    assert [record.data for record in running.stream.everything()] == payloads
    assert running.served is not None
    assert running.served.counts.failures > 3


@needs_mosquitto
def test_mosquitto_keeps_what_the_gateway_did_not_acknowledge(tmp_path: Path) -> None:
    """The gateway ends while the stream is out; the next one finds what is left."""

    async def first() -> None:
        async with gateway("mosquitto", tmp_path, CITY) as running:
            running.stream.out.set()
            await running.publish(EDGE, FRAME, b"left")

    async def second() -> Running:
        async with gateway("mosquitto", tmp_path, CITY) as running:
            await until(lambda: len(running.stream.everything()) == 1)
        return running

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("city_platform.local.mqtt.serving.DRAIN_S", 0.2)
        asyncio.run(first())
    assert [record.data for record in asyncio.run(second()).stream.everything()] == [b"left"]


def test_nobody_answers_where_no_gateway_runs(tmp_path: Path) -> None:
    edge = Edge(Authority(tmp_path, SystemClock()), 9, [EDGE])
    with pytest.raises(NoBroker, match="traffic gateway"):
        asyncio.run(edge.connect())


@needs_mosquitto
def test_a_broker_that_dies_ends_the_gateway(tmp_path: Path) -> None:
    async def run() -> None:
        async with gateway("mosquitto", tmp_path, CITY) as running:
            os.kill(int((tmp_path / "mqtt" / "mosquitto" / "mosquitto.pid").read_text()), signal.SIGKILL)
            await until(running.task.done)

    with pytest.raises(mosquitto.BrokerUnavailable, match="-9"):
        asyncio.run(run())


def test_a_broker_that_does_not_answer_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mosquitto, "START_S", 0.5)
    stream = SqliteEventStream(tmp_path / "stream.sqlite")

    async def run() -> None:
        broker = mosquitto.Mosquitto(Authority(tmp_path / "mqtt", SystemClock()), CITY, "local", 9)
        subscription = mosquitto.Subscription(broker)
        try:
            await subscription.start(Bridge(stream, subscription.acknowledge))
        finally:
            await subscription.close()

    with pytest.raises(mosquitto.BrokerUnavailable, match="port 9"):
        asyncio.run(run())
