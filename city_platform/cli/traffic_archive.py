"""`city-platform traffic archive`: takes the readings of this machine's stream to the lake."""

import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from city_platform.cli.options import Home, Json
from city_platform.cli.session import OK, USAGE, Session

if TYPE_CHECKING:
    from city_platform.traffic.archive import Archived

app = typer.Typer()
_IDLE = 0.5  # seconds between looks at a stream that had nothing
_AGAIN = 5.0  # seconds until the next try after the world outside failed


@app.command(epilog="Examples: city-platform traffic archive --once\n\ncity-platform traffic archive --every 300")
def archive(
    once: Annotated[bool, typer.Option("--once", help="Until nothing waits, then end.")] = False,
    every: Annotated[float, typer.Option(min=1, max=3_600, help="Seconds from one file an hour to the next.")] = 60.0,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Take every valid reading of the stream to the lake, late ones too, into the hour it was measured in.

    What the archive's function does on AWS. SIGTERM and Ctrl-C end it after it has published what it holds; killed at
    any moment, the next one goes on where it was.
    """
    from city_platform.deployment import deployment
    from city_platform.deployment.traffic import local_stream, open_registry
    from city_platform.errors import TransientError
    from city_platform.local.ending import asked_to_stop
    from city_platform.traffic.archive import Archived, TrafficArchive, follow

    session = Session.start(home, as_json=as_json)
    if deployment(os.environ) != "local":
        session.fail(USAGE, "on AWS the archive's function does this: there is none to run")
    stop = asked_to_stop()
    total = Archived()

    def told(done: "Archived") -> None:
        total.add(done)
        for hour, rows in sorted(done.hours.items()):
            session.err.print(f"{hour} UTC: {rows:,} readings", highlight=False)
        if done.refused:
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(done.refused.items()))
            session.err.print(f"no valid readings: {reasons}", style="yellow", markup=False, highlight=False)

    with session.errors():
        writer = TrafficArchive(session.platform().lake, open_registry())
        stream = local_stream(session.home)
        while not stop.is_set():
            try:
                follow(writer, stream, _until_nothing_waits(stop) if once else _every(every, stop), told)
            except TransientError as error:
                if once:
                    raise
                session.tries_again(error)
                stop.wait(_AGAIN)
            if once:
                break
    session.result(
        {
            "records": total.records,
            "readings": total.readings,
            "refused": {str(reason): count for reason, count in sorted(total.refused.items())},
            "hours": dict(sorted(total.hours.items())),
        }
    )
    if not as_json:
        refused = sum(total.refused.values())
        session.out.print(
            f"{total.records:,} records taken from the stream, {total.readings:,} readings are in the lake"
            + (f"; {refused:,} were no valid ones, which the dead letters keep." if refused else "."),
            highlight=False,
        )
    raise SystemExit(OK)


def _until_nothing_waits(stop: threading.Event) -> Callable[[int], bool]:
    return lambda count: not count or stop.is_set()


def _every(seconds: float, stop: threading.Event) -> Callable[[int], bool]:
    """Due when so much time has passed; waits a little where the stream has nothing."""
    ends = time.monotonic() + seconds

    def due(count: int) -> bool:
        if not count:
            stop.wait(_IDLE)
        return stop.is_set() or time.monotonic() >= ends

    return due
