"""The worker of the traffic stream on this machine: what Lambda and its event source mapping do on AWS, in one process.

Killed at any moment, the next one goes on from the last checkpoint; what comes twice is counted once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from city_platform.errors import TransientError
from city_platform.local.runner import EventSourceMapping
from city_platform.local.traffic_stream import TrafficShard
from city_platform.traffic.dead_letters import DeadLetters, letter
from city_platform.traffic.handler import Outcome, TrafficHandler
from city_platform.traffic.metrics import Batch, document
from city_platform.traffic.state import StateUnavailable
from city_platform.traffic.telemetry import Reason

READER = "windows"
BATCH = 500  # records: some 50,000 readings of a city's frames
_ATTEMPTS = 5


@dataclass(slots=True)
class TrafficWorker:
    """Delivers batches of some shards to one handler; `tell` gets each batch's metrics as a line of JSON.

    `sleep` waits between attempts, for seconds. `untold` counts batches whose metrics could not be written: their
    records are done all the same.
    """

    shards: Sequence[TrafficShard]
    handler: TrafficHandler
    letters: DeadLetters
    tell: Callable[[bytes], None]
    now_ms: Callable[[], int]
    sleep: Callable[[float], object]
    batch: int = BATCH
    total: Outcome = field(default_factory=Outcome)
    untold: int = 0
    _mappings: list[EventSourceMapping] = field(init=False)

    def __post_init__(self) -> None:
        self._mappings = [
            EventSourceMapping(
                shard, READER, self._handle, self._keep, self.batch, attempts=_ATTEMPTS, sleep=self.sleep
            )
            for shard in self.shards
        ]

    def turn(self, stop: Callable[[], bool] = lambda: False) -> int:
        """A batch of each shard, until `stop`; how many records were dealt with, 0 where none wait.

        Raises TransientError where the stream, the state or the letters fail time and again, after the other shards
        had their turns: nothing is given up, and no shard waits for another.
        """
        count, failure = 0, None
        for mapping in self._mappings:
            if stop():
                break
            try:
                count += mapping.deliver()
            except TransientError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return count

    def trim(self) -> int:
        """Drops what this and every other reader are done with since a day; how many records that were."""
        return sum(shard.trim([READER]) for shard in self.shards)

    def _handle(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        read_ms = self.now_ms()
        outcome = self.handler.handle(event)
        self._account(event, read_ms, outcome)
        first = event["Records"][0]["kinesis"]["sequenceNumber"]
        if outcome.failed[:1] == [first]:
            # The handler names records for what is outside alone, so this one must not be given up.
            raise StateUnavailable(f"record {first} and all behind it: the state or the dead letters did not answer")
        return outcome.response()

    def _keep(self, record: Mapping[str, Any], reason: str) -> None:  # noqa: ARG002 the letter has the record itself
        self.letters.keep([letter(record, Reason.UNHANDLED)])
        self._account({"Records": [record]}, self.now_ms(), Outcome(records=1, rejected={Reason.UNHANDLED: 1}))

    def _account(self, event: Mapping[str, Any], read_ms: int, outcome: Outcome) -> None:
        now = self.now_ms()
        self.total.add(outcome)
        try:
            self.tell(document(Batch(event, read_ms, now, self.handler.coverage(now)), outcome))
        except OSError:
            self.untold += 1
