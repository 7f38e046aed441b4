"""`city-platform traffic process` and `traffic dlq`: work on this machine's stream, and look at what it refused."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from city_platform.cli.options import Home, Json
from city_platform.cli.session import FAILED, OK, USAGE, Session, local, size

if TYPE_CHECKING:
    from city_platform.local.traffic_worker import TrafficWorker
    from city_platform.traffic.handler import Outcome

app = typer.Typer()
dlq = typer.Typer(help="Readings and records that were refused, with their reasons.", no_args_is_help=True)
app.add_typer(dlq, name="dlq")


_IDLE = 0.1  # seconds between looks at a stream that had nothing
_AGAIN = 5.0  # seconds before another attempt at what does not answer
_TIDY = 60.0  # seconds between two droppings of what nobody needs any more


@app.command(
    epilog="Examples: city-platform traffic process\n\ncity-platform traffic process --once --shards 0,2 --json"
)
def process(
    once: Annotated[bool, typer.Option("--once", help="Until nothing waits, then end.")] = False,
    shards: Annotated[str, typer.Option(help="Numbers of shards with commas between them; without it all.")] = "",
    processes: Annotated[bool, typer.Option("--processes", help="A process for each shard instead of one.")] = False,
    replay: Annotated[bool, typer.Option("--replay", help="From the oldest record kept, for a lost state.")] = False,
    metrics: Annotated[
        str, typer.Option(help="Where each batch's metrics go: a file, or - for standard output.")
    ] = "HOME/traffic/metrics.jsonl",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Take readings from this machine's stream to exact windows, what the traffic function does on AWS.

    SIGTERM and Ctrl-C end it between two batches. Killed at any moment, the next one goes on where it was, and counts
    nothing twice. Metrics are lines of CloudWatch's embedded metric format.
    """
    from city_platform.local.ending import asked_to_stop

    session = Session.start(home, as_json=as_json)
    if as_json and metrics == "-":
        session.fail(USAGE, "--json and --metrics - both want standard output: choose a file for the metrics")
    stop = asked_to_stop()
    with session.errors():
        names = _chosen(session, shards)
        if replay:
            _rewind(session.home, names)
        run = _in_processes if processes else _in_this_process
        total = run(session, names, metrics, stop, once=once)
    session.result(_summary(total))
    if not as_json:
        rejected = ", ".join(f"{reason} {count:,}" for reason, count in sorted(total.rejected.items()))
        session.err.print(
            f"{total.records:,} records: {total.accepted:,} readings counted, {total.duplicates:,} came before, "
            f"{total.late:,} late, {total.late_dropped:,} too late, {sum(total.rejected.values()):,} refused"
            + (f" ({rejected})." if rejected else "."),
            highlight=False,
        )
    raise SystemExit(OK)


@dlq.command(
    "list",
    epilog="Examples: city-platform traffic dlq list\n\ncity-platform traffic dlq list --reason schema --payload",
)
def list_letters(
    reason: Annotated[str | None, typer.Option(help="Only those of this reason.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest.")] = 20,
    payload: Annotated[bool, typer.Option("--payload", help="With what was sent, base64, unchecked.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Count dead letters by reason and show the newest. Exit code 1 where there are any."""
    import heapq
    from collections import Counter
    from datetime import UTC, datetime

    from rich.text import Text

    from city_platform.cli.table import ShownTable
    from city_platform.deployment.incidents import open_reference
    from city_platform.traffic.dead_letters import DeadLetter, stored_letters
    from city_platform.traffic.telemetry import Reason

    session = Session.start(home, as_json=as_json)
    if reason is not None and reason not in set(Reason):
        session.fail(USAGE, f"there is no reason {reason!r}; there are: {', '.join(sorted(Reason))}")
    letters: Counter[str] = Counter()
    readings: Counter[str] = Counter()

    def counted(one: DeadLetter) -> DeadLetter:
        letters[one.reason] += 1
        readings[one.reason] += len(one.rows or (0,))
        return one

    with session.errors():
        found = stored_letters(session.platform().lake.store, Reason(reason) if reason else None)
        newest = heapq.nlargest(limit, map(counted, found), key=lambda one: (one.arrival_ms, one.id))
        zone = str(open_reference().zone)
    counts = {name: {"letters": letters[name], "readings": readings[name]} for name in sorted(letters)}
    shown: list[dict[str, Any]] = [
        {
            "id": one.id,
            "reason": one.reason,
            "arrived": datetime.fromtimestamp(one.arrival_ms / 1000, UTC),
            "key": one.partition_key,
            "rows": one.rows,
            "bytes": len(one.data) * 3 // 4,
        }
        | ({"payload": one.data} if payload else {})
        for one in newest
    ]
    session.result({"reasons": counts, "dead_letters": shown})
    if not as_json and counts:
        table = ShownTable("reason", "letters", "readings")
        for name, count in counts.items():
            table.add_row(name, f"{count['letters']:,}", f"{count['readings']:,}")
        session.out.print(table)
        table = ShownTable("arrived", "reason", "key", "rows", "size", "record")
        for one, told in zip(newest, shown, strict=True):
            rows = "all" if one.rows is None else ", ".join(map(str, one.rows[:5])) + (" …" if one.rows[5:] else "")
            cells = local(told["arrived"], zone), one.reason, one.partition_key, rows, size(told["bytes"]), one.record
            table.add_row(*map(Text, cells))
            if payload:
                table.add_row("", Text(one.data))
        session.out.print(table)
    elif not as_json:
        session.out.print("No dead letters.")
    raise SystemExit(FAILED if counts else OK)


def _chosen(session: Session, shards: str) -> Sequence[str]:
    """The names of the shards that the numbers mean."""
    from city_platform.deployment import deployment
    from city_platform.deployment.traffic import local_stream

    if deployment(os.environ) != "local":
        session.fail(USAGE, "on AWS the stream's function does this: there is none to run")
    there = local_stream(session.home).shards()
    if not shards:
        return there
    try:
        numbers = sorted({int(one) for one in shards.split(",")})
    except ValueError:
        numbers = [-1]
    if not 0 <= numbers[0] <= numbers[-1] < len(there):
        session.fail(USAGE, f"--shards {shards} is not numbers from 0 to {len(there) - 1} with commas between them")
    return [there[number] for number in numbers]


def _rewind(home: Path, names: Sequence[str]) -> None:
    from city_platform.deployment.traffic import local_stream
    from city_platform.local.traffic_worker import READER

    stream = local_stream(home)
    for name in names:
        stream.rewind(READER, name)


def _in_this_process(
    session: Session, names: Sequence[str], metrics: str, stop: threading.Event, *, once: bool
) -> "Outcome":
    """One worker for all these shards, until there is nothing more (`once`) or it is to stop."""
    worker, forget = _worker(session.home, names, metrics, stop)
    _run(session, worker, forget, stop, once=once)
    if worker.untold:
        told = f"the metrics of {worker.untold:,} batches could not be written to {metrics}"
        session.err.print(told, style="yellow", markup=False, highlight=False)
    return worker.total


def _run(
    session: Session, worker: "TrafficWorker", forget: Callable[[], int], stop: threading.Event, *, once: bool
) -> None:
    """Works until there is nothing more (`once`), or until it is to stop."""
    from city_platform.errors import TransientError

    tidied = time.monotonic()
    while not stop.is_set():
        try:
            count = worker.turn(stop.is_set)
            if time.monotonic() - tidied >= _TIDY:
                worker.trim()
                forget()
                tidied = time.monotonic()
        except TransientError as error:
            if once:
                raise
            session.tries_again(error)
            stop.wait(_AGAIN)
            continue
        if not count:
            if once:
                return
            stop.wait(_IDLE)


def _worker(
    home: Path, names: Sequence[str], metrics: str, stop: threading.Event
) -> "tuple[TrafficWorker, Callable[[], int]]":
    """A worker of these shards, and what drops windows past their time."""
    from city_platform.deployment.traffic import local_letters, local_state, local_stream, open_registry
    from city_platform.local.rotated_file import RotatedFile
    from city_platform.local.traffic_stream import TrafficShard
    from city_platform.local.traffic_worker import TrafficWorker
    from city_platform.traffic.handler import TrafficHandler

    stream, state, letters = local_stream(home), local_state(home), local_letters(home)
    path = Path(metrics.replace("HOME", str(home), 1) if metrics.startswith("HOME/") else metrics)
    worker = TrafficWorker(
        [TrafficShard(stream, name) for name in names],
        TrafficHandler(open_registry(), state, letters, _now_ms),
        letters,
        _to_standard_output if metrics == "-" else RotatedFile(path).append,
        _now_ms,
        stop.wait,
    )
    return worker, lambda: state.forget(_now_ms())


def _in_processes(
    session: Session, names: Sequence[str], metrics: str, stop: threading.Event, *, once: bool
) -> "Outcome":
    """A process a shard; all end when one does that should not, or when this one is told to."""
    from city_platform.traffic.handler import Outcome

    context = multiprocessing.get_context("spawn")
    children: dict[Connection, tuple[str, Any]] = {}
    total = Outcome()
    failure: Exception | None = None
    for name in names:
        here, there = context.Pipe(duplex=False)
        child = context.Process(target=_child, args=(there, session.home, name, metrics, once))
        child.start()
        there.close()
        children[here] = name, child
    waiting = set(children)
    while waiting:
        ready = wait(list(waiting), timeout=_IDLE)
        for connection in [one for one in waiting if one in ready]:
            waiting.discard(connection)
            told = _last_word(*children[connection], connection)
            if isinstance(told, Outcome):
                total.add(told)
            else:
                failure = failure or told
                stop.set()
        if stop.is_set():
            for _, child in children.values():
                child.terminate()
    if failure is not None:
        raise failure
    return total


def _last_word(name: str, child: Any, connection: Connection) -> "Outcome | Exception":
    from city_platform.errors import TransientError
    from city_platform.traffic.handler import Outcome

    try:
        told: Outcome | Exception = connection.recv()
    except EOFError:
        child.join()
        if child.exitcode == -signal.SIGTERM:
            return Outcome()  # told to end before it had begun
        told = TransientError(f"the process of {name} died with {child.exitcode}: start again, nothing is lost")
    child.join()
    return told


def _child(connection: Connection, home: Path, name: str, metrics: str, once: bool) -> None:
    from city_platform.local.ending import asked_to_stop

    stop = asked_to_stop()
    threading.Thread(target=_stop_after_parent, args=(stop,), daemon=True).start()
    try:
        connection.send(_in_this_process(Session.start(home, as_json=True), [name], metrics, stop, once=once))
    except Exception as error:  # noqa: BLE001 -- the parent raises it
        connection.send(error)


def _stop_after_parent(stop: threading.Event) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        stop.set()


def _summary(total: "Outcome") -> dict[str, Any]:
    names = ("records", "accepted", "duplicates", "late", "late_dropped", "written", "conflicts")
    return {name: getattr(total, name) for name in names} | {"rejected": dict(sorted(total.rejected.items()))}


def _to_standard_output(line: bytes) -> None:
    sys.stdout.write(line.decode() + "\n")
    sys.stdout.flush()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
