"""Sends simulated reports to the API at their times, and says what became of them and how long it took."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2

from city_platform.errors import TransientError
from city_platform.incidents.simulation import SimulatedReport

CREATED, BAD_REQUEST, TOO_MANY = 201, 400, 429
PATIENCE_SECONDS = 30.0
_QUEUED_A_CLIENT = 4  # reports that wait for a client; when all are busy the sender waits, too
_EXAMPLES = 5


class NobodyThere(TransientError):
    """Nothing answers at the address."""


@dataclass(slots=True)
class Outcome:
    """What became of the reports sent. Latencies are in seconds from when a report was due to its last byte.

    `unexpected` holds a few answers that should have been others, in words; `ids` the accepted incidents.
    """

    sent: int = 0
    accepted: int = 0
    refused: int = 0
    throttled: int = 0
    failed: int = 0
    duplicates: int = 0
    hinted: int = 0  # of the duplicates, how many were answered with possible duplicates
    wrongly_accepted: int = 0
    wrongly_refused: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)  # of accepted reports
    ids: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    unexpected: list[str] = field(default_factory=list)

    @property
    def well(self) -> bool:
        """Whether every good report was taken and every bad one refused."""
        return not (self.wrongly_accepted or self.wrongly_refused or self.failed or self.throttled)

    def percentile(self, share: float) -> float | None:
        """The latency that this share of the accepted reports did not exceed."""
        return percentile(self.latencies, share)

    def to_json(self) -> Mapping[str, Any]:
        """Counts, and milliseconds."""
        counts = ("sent", "accepted", "refused", "throttled", "failed", "duplicates", "hinted")
        milliseconds = {
            name: None if (value := self.percentile(share)) is None else round(1000 * value, 1)
            for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99))
        }
        return {
            **{name: getattr(self, name) for name in (*counts, "wrongly_accepted", "wrongly_refused")},
            "seconds": round(self.seconds, 1),
            "accepted_a_second": round(self.accepted / self.seconds, 1) if self.seconds else None,
            **milliseconds,
            "refused_for": dict(self.reasons.most_common()),
            "unexpected": self.unexpected,
        }


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least this share of the values does not exceed; None of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def send(
    reports: Iterable[SimulatedReport],
    base: str,
    *,
    clients: int,
    token: Callable[[int], str],
    progress: Callable[[Outcome], None] = lambda _: None,
) -> Outcome:
    """Sends each report when it is due, over at most `clients` connections to `base` (http://HOST:PORT).

    `token` gives a citizen's. Where the API is slower than the reports come, they wait, and their latency shows it.
    Raises NobodyThere before anything is sent.
    """
    return asyncio.run(_send(reports, base, clients, token, progress))


async def _send(
    reports: Iterable[SimulatedReport],
    base: str,
    clients: int,
    token: Callable[[int], str],
    progress: Callable[[Outcome], None],
) -> Outcome:
    outcome = Outcome()
    queue: asyncio.Queue[SimulatedReport | None] = asyncio.Queue(clients * _QUEUED_A_CLIENT)
    limits = httpx2.Limits(max_connections=clients, max_keepalive_connections=clients)
    # Loopback is reached directly, whatever proxies the environment names.
    async with httpx2.AsyncClient(base_url=base, limits=limits, timeout=PATIENCE_SECONDS, trust_env=False) as client:
        try:
            await client.get("/v1/health")
        except httpx2.TransportError as error:
            raise NobodyThere(f"nothing answers at {base}: start it with `city-platform serve`") from error
        started = time.perf_counter()

        async def work() -> None:
            while (report := await queue.get()) is not None:
                await _one(client, report, started, token, outcome)
                progress(outcome)

        workers = [asyncio.create_task(work()) for _ in range(clients)]
        for report in reports:
            await asyncio.sleep(max(0.0, started + report.after - time.perf_counter()))
            await queue.put(report)
        for _ in workers:
            await queue.put(None)
        await asyncio.gather(*workers)
        outcome.seconds = time.perf_counter() - started
    return outcome


async def _one(
    client: httpx2.AsyncClient,
    report: SimulatedReport,
    started: float,
    token: Callable[[int], str],
    outcome: Outcome,
) -> None:
    headers = {"Content-Type": "application/json"}
    if report.citizen is not None:
        headers["Authorization"] = f"Bearer {token(report.citizen)}"
    outcome.sent += 1
    try:
        response = await client.post("/v1/incidents", content=json.dumps(report.payload), headers=headers)
    except httpx2.TransportError as error:
        outcome.failed += 1
        _unexpected(outcome, f"no answer: {type(error).__name__}")
        return
    if response.status_code == CREATED:
        body = response.json()
        outcome.accepted += 1
        outcome.latencies.append(time.perf_counter() - started - report.after)
        outcome.ids.append(body["incident_id"])
        outcome.duplicates += report.duplicate
        outcome.hinted += report.duplicate and bool(body["possible_duplicates"])
        if report.wrong:
            outcome.wrongly_accepted += 1
            _unexpected(outcome, f"accepted with a bad {report.wrong}")
    elif response.status_code == BAD_REQUEST:
        outcome.refused += 1
        outcome.reasons[report.wrong or "nothing that was wrong"] += 1
        if not report.wrong:
            outcome.wrongly_refused += 1
            _unexpected(outcome, f"a good report of {report.payload['category']} was refused: {response.text[:200]}")
    elif response.status_code == TOO_MANY:
        outcome.throttled += 1
    else:
        outcome.failed += 1
        _unexpected(outcome, f"status {response.status_code}")


def _unexpected(outcome: Outcome, what: str) -> None:
    if len(outcome.unexpected) < _EXAMPLES and what not in outcome.unexpected:
        outcome.unexpected.append(what)
