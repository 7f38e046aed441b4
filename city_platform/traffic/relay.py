"""The outbox to the bus: an event leaves the outbox after the bus has it, so it is told at least once, whoever dies.

Receivers tell a repetition by its id. Many may relay at once; all that costs is repetitions.
"""

from dataclasses import dataclass

from city_platform.errors import PermanentError
from city_platform.ports import EventBus, EventBusRefused, EventBusUnavailable
from city_platform.traffic.events import bus_event
from city_platform.traffic.state import TrafficState

AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Relayed:
    """How many events the bus took, and whether some wait because it was busy."""

    published: int
    waiting: bool


class EventsRefused(PermanentError):
    """The bus refused some events; they stay in the outbox, and the others were told."""


def relay(state: TrafficState, bus: EventBus, most: int = 10_000) -> Relayed:
    """Publishes what waits in the outbox, the oldest first, until nothing waits, the bus is busy or `most` are told.

    Raises EventsRefused after the others of the same read were told, and the errors of the state and the bus.
    """
    published = 0
    while published < most:
        events = state.outbox(AT_ONCE)
        if not events:
            break
        answers = bus.publish([bus_event(event) for event in events])
        told = [event for event, answer in zip(events, answers, strict=True) if answer is None]
        state.published(told)
        published += len(told)
        refused = [answer for answer in answers if isinstance(answer, EventBusRefused)]
        if refused:
            raise EventsRefused(f"{len(refused)} event(s) stay in the outbox; of the first: {refused[0]}") from refused[
                0
            ]
        if any(isinstance(answer, EventBusUnavailable) for answer in answers):
            return Relayed(published, waiting=True)
    return Relayed(published, waiting=False)
