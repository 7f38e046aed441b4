"""Random histories of a stream and what handlers make of them, under every fault that delivery and processes have.

A scenario is a seed. Producers send readings again in other frames, batches are cut anew at every attempt, any side
effect may crash the process, be lost or be done unheard, two handlers work on the same records, and in the end the
stream is read again. What is stored must be the truth. A mutant is a handler that is wrong on purpose.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

from city_platform.traffic.handler import TrafficHandler
from city_platform.traffic.state import TrafficState
from city_platform.traffic.windows import unpack_sensors
from tests.traffic import NOON, TOWN, Crash, Faults, Letters, MemoryState, Told, columns, event, lines, record, truth

FAULTS = (None, None, None, None, "crash before", "crash after", "lost", "unheard", "down")
_SPAN_MS = 14_000
_BAD = (b"rubbish", b"x\x9ccut off", lines([Told(0, 1, NOON - 90_000_000, 1)]))

Handle = Callable[[TrafficState, Letters], TrafficHandler]


def handler(state: TrafficState, letters: Letters) -> TrafficHandler:
    return TrafficHandler(TOWN, state, letters, lambda: NOON + 3_000)


def readings(draw: random.Random) -> list[Told]:
    """Of each sensor up to two a second, by times that do not follow its sequence numbers strictly."""
    told = []
    for sensor in range(len(TOWN)):
        seq = draw.randrange(1000, 10**9)
        at = NOON + draw.randrange(6_000)
        while at < NOON + _SPAN_MS and draw.random() > 0.15:
            told.append(Told(sensor, seq, at, draw.randrange(1000)))
            seq += draw.choice((1, 1, 1, 1, 2, 200))
            at += draw.choice((0, 400, 1000, 1000, 5000))
    return told


def records(draw: random.Random, told: Sequence[Told]) -> list[dict[str, Any]]:
    """The stream: frames of a zone, readings again in other frames, frames again, and rubbish between them."""
    frames: list[bytes] = list(draw.choices(_BAD, k=draw.randrange(3)))
    for zone in range(len(TOWN.zones)):
        own = [one for one in told if TOWN.zone[one.sensor] == zone]
        own += draw.sample(own, len(own) // 4)  # MQTT's own duplicates, in whichever frame they fall
        own.sort(key=lambda one: one.ts_ms + draw.randrange(4_000))
        while own:
            cut = draw.randrange(2, 14)
            frames.append(draw.choice((columns, lines))(own[:cut]))
            own = own[cut:]
    frames += draw.sample(frames, len(frames) // 5)  # a producer that did not hear the stream's answer
    draw.shuffle(frames)
    return [record(frame, number, NOON + 30_000) for number, frame in enumerate(frames)]


def deliver(
    draw: random.Random, stream: Sequence[dict[str, Any]], states: Sequence[tuple[MemoryState, Letters]], make: Handle
) -> None:
    """Each worker reads the whole stream from its checkpoint, in turns with the others, until all have got through.

    What comes back is what an event source mapping gives: from the failed record on, in a batch of another size; after
    a crash a new process starts from the last checkpoint.
    """
    workers = [make(*each) for each in states]
    places = [0] * len(workers)
    while any(place < len(stream) for place in places):
        turn = draw.choice([at for at, place in enumerate(places) if place < len(stream)])
        batch = stream[places[turn] : places[turn] + draw.randrange(1, 9)]
        try:
            outcome = workers[turn].handle(event(*batch))
        except Crash:
            workers[turn] = make(*states[turn])
            continue
        if outcome.failed:
            places[turn] = int(outcome.failed[0])
        else:
            places[turn] += len(batch)


def scenario(seed: int, make: Handle = handler) -> list[str]:
    """Runs one history; what is wrong in the end, nothing where it is right."""
    draw = random.Random(seed)  # noqa: S311 reproducible, not secret
    told = readings(draw)
    stream = records(draw, told)
    state, letters = MemoryState(), Letters()
    # Two writers at the same records happen while a shard's lease moves; each has faults of its own.
    writers = []
    for _ in range(draw.choice((1, 1, 2))):
        faults = Faults(draw.choices(FAULTS, k=draw.randrange(60)))
        writers.append((MemoryState(state.kept, faults), Letters(letters.kept, Faults(draw.choices(FAULTS, k=4)))))
    deliver(draw, stream, writers, make)
    if draw.random() < 0.3:  # a redrive: some of it again, long after, by a process that knows nothing
        again = [record_again for record_again in stream if draw.random() < 0.5]
        for start in range(0, len(again), 5):
            make(state, letters).handle(event(*again[start : start + 5]))
    return differences(told, stream, state, letters)


def differences(
    told: Sequence[Told], stream: Sequence[dict[str, Any]], state: MemoryState, letters: Letters
) -> list[str]:
    """In words, how the stored windows and letters differ from the truth."""
    wrong = []
    expected = truth(told)
    if set(state.kept) != set(expected):
        wrong.append(f"windows {sorted(set(state.kept) ^ set(expected))}")
    for key, figures in expected.items():
        stored = state.kept.get(key)
        if stored is None:
            continue
        latest = figures.pop("latest")
        wrong += [f"{key} {name}: {getattr(stored, name)}, not {value}" for name, value in figures.items()
                  if getattr(stored, name) != value]  # fmt: skip
        sensors = unpack_sensors(stored)
        found = zip(sensors.seq, sensors.ts_ms, sensors.vehicle_count, sensors.speed_x10, strict=True)
        if dict(zip(sensors.number.tolist(), map(tuple, found), strict=True)) != latest:
            wrong.append(f"{key} latest values")
    bad = {f"{one['eventID']}" for one in stream if one["kinesis"]["data"] in _BAD_DATA}
    if {letter.record for letter in letters.kept.values()} != bad:
        wrong.append("dead letters")
    return wrong


_BAD_DATA = {record(data)["kinesis"]["data"] for data in _BAD}
