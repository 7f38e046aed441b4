"""The embedded incident store: reports accepted a second, and the five lists at a million incidents.

    uv run python benchmarks/incidents.py --seconds 5 --incidents 1_000_000

Writing is compared with what the disk and SQLite can do at all: a bare table in another file, one transaction for each
report with the same number of bytes, flushed as the store flushes (WAL, synchronous = FULL). The store shares a flush
between all who wait, so with many writers it can be faster than that. The API is the one that `city-platform serve`
runs, as a process of its own, asked over loopback by as many clients; its clients run on the same cores.

The lists are the five patterns of the store, a page of 21, half of them first pages and half from the middle of the
list, each as the median of many; a reporter has a hundred incidents. A page of a million incidents may take twice the
time of one of ten thousand.
"""

import argparse
import json
import random
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from city_platform.api.composition import local_issuer
from city_platform.incidents import codec
from city_platform.incidents.identity import new_incident_id, new_public_ref
from city_platform.incidents.model import Channel, HistoryEntry, Incident, Severity, Status
from city_platform.incidents.reference import Reference, load_reference
from city_platform.incidents.repository import AlreadyDone, Change, Listing, Mark, Pattern, Position
from city_platform.incidents.sending import percentile, send
from city_platform.incidents.simulation import arrivals
from city_platform.local.clock import SystemClock
from city_platform.local.incidents import SqliteIncidentRepository

FEW, PAGE, REPEATS, OF_ONE_REPORTER = 10_000, 21, 300, 100
START = datetime(2026, 1, 1, tzinfo=UTC)


def made_up(rng: random.Random, reference: Reference, at: datetime, reporters: int = 5_000) -> Incident:
    """An incident somewhere in the city."""
    district = rng.choice(list(reference.districts))
    known = reference.districts[district]
    return Incident(
        incident_id=new_incident_id(at),
        public_ref=new_public_ref("VAN", at.year),
        version=1,
        title="Pothole in the bicycle lane",
        description="Seen this morning, about as wide as a wheel.",
        category=rng.choice(list(reference.categories)),
        severity=Severity.MEDIUM,
        status=rng.choice(list(Status)),
        region=known.region,
        district=district,
        reported_at=at,
        updated_at=at,
        channel=Channel.MOBILE,
        department="streets",
        reported_by=f"citizen-{rng.randrange(reporters)}",
        lat=round(rng.gauss(known.centre[0], 0.005), 7),
        long=round(rng.gauss(known.centre[1], 0.005), 7),
    )


def first_change(incident: Incident) -> Change:
    entry = HistoryEntry(
        incident_id=incident.incident_id,
        version=1,
        at=incident.reported_at,
        actor=incident.reported_by,
        role="citizen",
        action="reported",
        to_status=incident.status,
    )
    return Change(incident, entry, (Mark(f"ref#{incident.public_ref}", incident.incident_id),))


def bare_commits(folder: Path, size: int, seconds: float) -> float:
    """Transactions a second of one row of so many bytes."""
    with closing(sqlite3.connect(folder / "bare.sqlite", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE report (number INTEGER PRIMARY KEY, body BLOB)")
        body, count, started = b"x" * size, 0, time.perf_counter()
        while time.perf_counter() - started < seconds:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO report (body) VALUES (?)", (body,))
            connection.execute("COMMIT")
            count += 1
        return count / (time.perf_counter() - started)


def repository_writes(folder: Path, reference: Reference, writers: int, seconds: float) -> dict[str, float | None]:
    """Reports a second that so many threads get accepted, and milliseconds until one is."""
    repository = SqliteIncidentRepository(folder / f"{writers}.sqlite", SystemClock())
    latencies: list[list[float]] = [[] for _ in range(writers)]
    until = time.perf_counter() + seconds

    def work(mine: list[float], seed: int) -> None:
        rng = random.Random(seed)  # noqa: S311 -- not a secret
        while (before := time.perf_counter()) < until:
            with suppress(AlreadyDone):  # two drew the same public reference, which a service draws again
                repository.write([first_change(made_up(rng, reference, datetime.now(UTC)))])
                mine.append(time.perf_counter() - before)

    threads = [threading.Thread(target=work, args=(mine, seed)) for seed, mine in enumerate(latencies)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return figures([one for mine in latencies for one in mine], seconds)


def figures(latencies: Sequence[float], seconds: float) -> dict[str, float | None]:
    p50, p99 = (percentile(latencies, share) for share in (0.5, 0.99))
    return {
        "accepted_a_second": round(len(latencies) / seconds, 1),
        "p50_ms": None if p50 is None else round(1000 * p50, 2),
        "p99_ms": None if p99 is None else round(1000 * p99, 2),
    }


def api_writes(folder: Path, reference: Reference, clients: int, rate: float, seconds: float) -> dict[str, Any]:
    """Reports through the API, sent at `rate`; well below what it can do, the latencies are those of an answer."""
    home = folder / f"api-{clients}-{rate:.0f}"
    start = "from city_platform.cli import main; main()"
    command = [sys.executable, "-c", start, "serve", "--port", "0", "--rate-limit", "0", "--home", str(home)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        base = line.split()[1].split("/report")[0]
        issuer = local_issuer(home)
        tokens: dict[int, str] = {}

        def token(citizen: int) -> str:
            if citizen not in tokens:
                tokens[citizen] = issuer.token(f"simulated-{citizen}", ["citizen"], (), timedelta(hours=1))
            return tokens[citizen]

        # Everything at one hour of the week: an even rate.
        reports = arrivals(reference, rate=rate, seconds=seconds, clock=lambda _: START + timedelta(hours=20), seed=1)
        outcome = send(list(reports), base, clients=clients, token=token)
        assert outcome.well, outcome.unexpected
    finally:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        server.terminate()
        server.wait(30)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "asked_a_second": round(outcome.sent / seconds, 1),
        **figures(outcome.latencies, outcome.seconds),
        "server_cpu_ms_a_report": round(1000 * cpu / outcome.sent, 1),  # its start included
    }


def filled(path: Path, reference: Reference, count: int) -> SqliteIncidentRepository:
    """A store with so many incidents, written straight into its table, and its indexes made of them at the end.

    Row by row into five indexes of random order, a million takes longer than anybody waits.
    """
    repository = SqliteIncidentRepository(path, SystemClock())
    repository.get("0" * 26)  # makes the tables
    rng = random.Random(count)  # noqa: S311 -- not a secret
    columns = ("incident_id", "version", "region", "district", "status", "category", "reported_by", "reported_at")
    step = timedelta(days=365) / count

    def rows() -> Any:
        for number in range(count):
            incident = made_up(rng, reference, START + number * step, count // OF_ONE_REPORTER)
            item = codec.to_item(incident)
            text = json.dumps(item, default=float, separators=(",", ":"))
            yield (*(item.get(name) for name in columns), incident.lat, incident.long, text)

    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -262144")  # KiB: sorts in memory
        indexes = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
        made = indexes.fetchall()
        for name, _ in made:
            connection.execute(f"DROP INDEX {name}")
        incidents = rows()
        while batch := list(islice(incidents, 20_000)):
            connection.executemany("INSERT INTO incident VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", batch)
            connection.commit()
        for _, definition in made:
            connection.execute(definition)
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # a log that nobody has tidied away is not the matter
    return repository


def page_times(repository: SqliteIncidentRepository, reference: Reference, count: int) -> dict[str, float]:
    """The median milliseconds of a page of each pattern."""
    rng = random.Random(7)  # noqa: S311 -- not a secret
    values: dict[str, Callable[[], str]] = {
        "region": lambda: rng.choice(list(reference.regions)),
        "district": lambda: rng.choice(list(reference.districts)),
        "status": lambda: rng.choice(list(Status)),
        "category": lambda: rng.choice(list(reference.categories)),
        "reported_by": lambda: f"citizen-{rng.randrange(count // OF_ONE_REPORTER)}",
    }
    middle = Position(START + timedelta(days=182), "7" + "Z" * 25)
    found = {}
    for pattern in Pattern:
        times = []
        for repeat in range(REPEATS):
            listing = Listing(pattern, tuple(values[name]() for name in pattern.fields))
            before = time.perf_counter()
            repository.list(listing, PAGE, middle if repeat % 2 else None)
            times.append(time.perf_counter() - before)
        found[pattern.value] = round(1000 * statistics.median(times), 3)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--incidents", type=lambda text: int(text.replace("_", "")), default=1_000_000)
    parser.add_argument("--writers", type=int, default=64)
    parser.add_argument(
        "--rate", type=float, nargs="+", default=[50.0, 1000.0], help="reports a second asked of the API"
    )
    given = parser.parse_args()
    reference = load_reference()
    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        change = first_change(made_up(random.Random(0), reference, START))  # noqa: S311 -- not a secret
        size = 2 * len(json.dumps(codec.to_item(change.incident), default=float)) + len(
            json.dumps(codec.to_item(change.entry), default=float)
        )
        limit = bare_commits(folder, size, given.seconds)
        told["bare SQLite commits a second"] = {"bytes": size, "commits": round(limit, 1)}
        for writers in (1, given.writers):
            done = repository_writes(folder, reference, writers, given.seconds)
            told[f"store, {writers} writers"] = {**done, "x bare": round((done["accepted_a_second"] or 0) / limit, 2)}
        for rate in given.rate:
            told[f"API, asked {rate:.0f} a second"] = api_writes(folder, reference, given.writers, rate, given.seconds)
        few = page_times(filled(folder / "few.sqlite", reference, FEW), reference, FEW)
        store = filled(folder / "many.sqlite", reference, given.incidents)
        many = page_times(store, reference, given.incidents)
        told[f"page in ms, {FEW:,} and {given.incidents:,} incidents"] = {
            pattern: {"few": few[pattern], "many": many[pattern], "ratio": round(many[pattern] / few[pattern], 2)}
            for pattern in few
        }
    sys.stdout.write(json.dumps(told, indent=1) + "\n")
    slow = [one for one in few if many[one] > 2 * few[one]]
    if slow:
        raise SystemExit(f"more than twice the time at {given.incidents:,} incidents: {', '.join(slow)}")


if __name__ == "__main__":
    main()
