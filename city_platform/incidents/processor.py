"""What becomes of a delivery of the change stream: rows on their way to the lake, alerts, dead letters.

Delivered again, whole or in part, it does the same again: segments are named by their content, alerts and dead letters
by their change, and whoever exports leaves out what was exported.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from city_platform.errors import TransientError
from city_platform.incidents.alerts import AlertDesk
from city_platform.incidents.dead_letters import DeadLetters
from city_platform.incidents.segments import Segments
from city_platform.incidents.stream import Delivered, PoisonRecord, Row, delivered, flat_row, still_there
from city_platform.ports import Queue


@dataclass(slots=True)
class Processed:
    """What a delivery came to. `failed` names the records to deliver again, in their order, and `why` says why."""

    rows: int = 0
    alerts: int = 0
    poison: list[tuple[Delivered, str]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    why: list[str] = field(default_factory=list)

    def partial_answer(self) -> dict[str, Any]:
        """As Lambda's event source mappings want it (ReportBatchItemFailures)."""
        return {"batchItemFailures": [{"itemIdentifier": one} for one in self.failed]}


@dataclass(frozen=True, slots=True)
class StreamProcessor:
    """Takes events of DynamoDB Streams or Kinesis."""

    segments: Segments
    jobs: Queue
    dead_letters: DeadLetters
    alerts: AlertDesk
    pseudonym: Callable[[str], str]
    forget: Callable[[str], None]  # removes what else there is of an incident that expired

    def process(self, event: object) -> Processed:
        """Raises PoisonRecord for what is no event of these streams, and the ports' errors: deliver all of it again."""
        done = self._digest(event)
        if done.poison:
            self.dead_letters.keep([(one.raw, why) for one, why in done.poison])
        return done

    def replay(self, event: object) -> Sequence[str]:
        """The same for a dead letter, which stays where it is: what is still wrong with it, if anything."""
        done = self._digest(event)
        return [why for _, why in done.poison] + done.why

    def _digest(self, event: object) -> Processed:
        done = Processed()
        rows: list[tuple[Delivered, Row, tuple[int, int]]] = []
        for one in delivered(event):
            if one.record is None:
                done.poison.append((one, one.problem))
                continue
            try:
                rows.append((one, flat_row(one.record, self.pseudonym), still_there(one.record)))
            except PoisonRecord as error:
                done.poison.append((one, str(error)))
        for one, row, doubts in rows:
            try:
                done.alerts += self.alerts.look_at(row, doubts)
            except TransientError as error:
                # The others' alerts do not wait behind it; this record comes again.
                done.failed.append(one.identifier)
                done.why.append(str(error))
        jobs = self.segments.write(row for _, row, _ in rows)
        self.jobs.send([job.to_json() for job in jobs])
        for _, row, _ in rows:
            if row.expired:
                self.forget(row.incident_id)
        done.rows = len(rows)
        return done
