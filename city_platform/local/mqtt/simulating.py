"""The city's sensors in real time: each second's readings leave through the edge gateways when the second is over."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from city_platform.local.mqtt.edge import Edge
from city_platform.traffic.fleet import Fleet, Transmission, by_zone, messages
from city_platform.traffic.frames import encode_columns
from city_platform.traffic.telemetry import Readings
from city_platform.traffic.topics import Source
from city_platform.traffic.truth import Truth

FRAME_READINGS = 5_000  # of a frame at most
PATIENCE_S = 60.0  # for the last acknowledgements
_AT_ONCE = 256  # single messages without letting others run


@dataclass(frozen=True)
class Simulation:
    """What is measured, how it is sent, and where it is counted."""

    fleet: Fleet
    transmission: Transmission
    truth: Truth
    edge: Edge
    environment: str
    frames: bool


async def simulate(run: Simulation, seconds: int, told: Callable[[], None]) -> float:
    """Publishes so many seconds, and returns how long it took from the first one until the last acknowledgement.

    Where the broker is slower than the sensors, seconds wait for each other. Raises NoBroker, NotLetIn.
    """
    await run.edge.connect()
    try:
        first = int(time.time()) + 1
        for second in range(first, first + seconds):
            measured = run.fleet.measured(second)
            run.truth.add(measured)
            readings = run.transmission.sent(second, measured)
            await asyncio.sleep(max(0.0, second + 1 - time.time()))
            await _publish(run, readings)
            told()
        rest = run.transmission.rest()
        if rest is not None:
            await _publish(run, rest)
        await run.edge.settle(PATIENCE_S)
        told()
        return time.time() - first
    finally:
        await run.edge.close()


async def _publish(run: Simulation, readings: Readings) -> None:
    registry = run.fleet.registry
    if not run.frames:
        zones = [registry.zones[zone] for zone in readings.zone.tolist()]
        for count, (zone, (sensor, payload)) in enumerate(zip(zones, messages(readings, registry), strict=True)):
            await run.edge.publish(Source(run.environment, zone, sensor), payload, 1)
            if count % _AT_ONCE == 0:
                await asyncio.sleep(0)
        return
    for place, own in by_zone(readings):
        zone = registry.zones[place]
        for start in range(0, len(own), FRAME_READINGS):
            part = own.take(np.arange(start, min(start + FRAME_READINGS, len(own))))
            payload = encode_columns(zone, part, registry.number)
            await run.edge.publish(Source(run.environment, zone, None), payload, len(part))
        await asyncio.sleep(0)
