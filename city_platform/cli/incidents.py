"""`city-platform incidents`: take changes to the lake, and look after what could not go there."""

import os
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

import typer

from city_platform.cli.options import Home, Json
from city_platform.cli.session import FAILED, OK, USAGE, Session, local
from city_platform.cli.simulate import app as simulate_app

if TYPE_CHECKING:
    from city_platform.deployment.incidents import IncidentPath
    from city_platform.local.runner import EventSourceMapping

app = typer.Typer(help="Incidents: reports, their stream to the lake, its dead letters.", no_args_is_help=True)
dlq = typer.Typer(help="What could not go to the lake: records that are poison, jobs nobody could do.")
app.add_typer(simulate_app)
app.add_typer(dlq, name="dlq")

Limit = Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")]

READER = "lake"
_OVERDUE = {
    "rejected": "requests for information rejected that nobody answered",
    "anonymised": "incidents closed long ago without their reporters now",
    "removed": "incidents removed whose time was over",
    "uploads": "pictures removed that were uploaded and never added",
}
_IDLE = 0.5  # seconds between looks at a stream that had nothing


@app.command(
    epilog="Examples: city-platform incidents process --once\n\ncity-platform incidents process --every 60 --rows 5000"
)
def process(
    once: Annotated[bool, typer.Option("--once", help="Until nothing waits, then end.")] = False,
    every: Annotated[float, typer.Option(min=1, max=86_400, help="Seconds from one export to the next.")] = 300.0,
    rows: Annotated[int, typer.Option(min=1, max=50_000, help="Rows that wait for an export at most.")] = 10_000,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Take changes of incidents from this machine's store to the lake, alerting to critical ones on the way.

    What the stream's function and the export's state machine do on AWS. With each export it rejects what waits for
    information that nobody gave for two weeks, removes reporters and contact data from what was closed long ago,
    and then the incidents themselves, as the city's reference says, and pictures that nobody added in a day.
    SIGTERM and Ctrl-C end it between two steps; killed at any moment, the next one goes on where it was.
    """
    from city_platform.errors import TransientError
    from city_platform.incidents.export import export_once
    from city_platform.local.ending import asked_to_stop

    session = Session.start(home, as_json=as_json)
    stop = asked_to_stop()
    taken = exported = waiting = 0
    overdue: Counter[str] = Counter()
    with session.errors():
        path, mapping, see_to_overdue = local_path(session)
        last = time.monotonic()
        while not stop.is_set():
            try:
                count = mapping.deliver()
                taken, waiting = taken + count, waiting + count
                due = not count if once else waiting >= rows or time.monotonic() - last >= every
                if due:
                    late = see_to_overdue()
                    overdue.update(late)
                    published = export_once(path.export, uuid4().hex)["published"]
                    exported += sum(one["rows"] for one in published)
                    waiting, last = 0, time.monotonic()
                    for one in published:
                        session.err.print(f"{one['day']}: {one['rows']:,} rows, manifest {one['sequence']}")
                    mapping.stream.trim([READER])
                    if once and not (published or late.total()):
                        break
            except TransientError as error:
                if once:
                    raise
                session.tries_again(error)
                stop.wait(5)
            if not (once or count):
                stop.wait(_IDLE)
    session.result({"records": taken, "rows_exported": exported} | {name: overdue[name] for name in _OVERDUE})
    if not as_json:
        said = "".join(f"; {overdue[name]:,} {what}" for name, what in _OVERDUE.items() if overdue[name])
        session.out.print(f"{taken:,} records taken from the stream, {exported:,} rows exported{said}.")
    raise SystemExit(OK)


@dlq.command("list", epilog="Example: city-platform incidents dlq list --json")
def list_letters(limit: Limit = 50, home: Home = None, as_json: Json = False) -> None:
    """Show dead letters: their numbers and the reason, never what they say. Exit code 1 where there are any."""
    from datetime import timedelta

    from rich.text import Text

    from city_platform.cli.table import ShownTable

    session = Session.start(home, as_json=as_json)
    with session.errors():
        path = _open(session)
        letters = path.dead_letters.look(limit)
        undelivered = path.undelivered.look(limit) if path.undelivered else []
        jobs = path.dead_jobs.receive(limit, timedelta(seconds=30))
        path.dead_jobs.release(jobs)
        zone = _timezone()
    found = [("record", one.sent_at, f"{one.event} {one.event_id}", one.sequence, one.reason) for one in letters]
    found += [("undelivered", one.sent_at, one.event_id, one.sequence, one.reason) for one in undelivered]
    found += [("job", one.sent_at, one.body[:200], "", one.reason or "no reason given") for one in jobs]
    names = ("kind", "at", "what", "sequence", "reason")
    session.result({"dead_letters": [dict(zip(names, one, strict=True)) for one in found]})
    if not as_json:
        table = ShownTable(*names)
        for kind, at, what, sequence, reason in found:
            table.add_row(*map(Text, (kind, local(at, zone), what, sequence.lstrip("0"), reason)))
        session.out.print(table if found else "No dead letters.")
    raise SystemExit(FAILED if found else OK)


@dlq.command("redrive", epilog="Example: city-platform incidents dlq redrive --limit 100")
def redrive(limit: Limit = 1_000, home: Home = None, as_json: Json = False) -> None:
    """Deliver dead letters once more, for instance after a correction of the platform.

    What was done already is not done twice. Exit code 1 where letters stay, because they are still poison.
    """
    session = Session.start(home, as_json=as_json)
    with session.errors():
        path = _open(session)
        results = [path.dead_letters.redrive(path.processor.replay, limit)]
        if path.undelivered:
            results.append(path.undelivered.redrive(path.processor.replay, limit))
        jobs = path.redrive_jobs(limit)
    replayed = sum(one.replayed for one in results)
    refused = [reason for one in results for reason in one.refused]
    session.result({"replayed": replayed, "jobs": jobs, "refused": refused})
    if not as_json:
        session.out.print(f"{replayed:,} records and {jobs:,} jobs are on their way to the lake again.")
        for reason in refused:
            session.err.print(f"stays: {reason}", style="yellow", markup=False, highlight=False)
    raise SystemExit(FAILED if refused else OK)


def _open(session: Session) -> "IncidentPath":
    from city_platform.deployment.incidents import open_incident_path

    return open_incident_path(session.home, session.platform())


def local_path(session: Session) -> "tuple[IncidentPath, EventSourceMapping, Callable[[], Counter[str]]]":
    """The path, what brings it the stream, and what deals with whatever is overdue and counts it as _OVERDUE says."""
    from city_platform.deployment import deployment
    from city_platform.deployment.incidents import open_incident_service
    from city_platform.incidents.retention import AT_ONCE, anonymise, drop_uploads
    from city_platform.incidents.unanswered import reject_unanswered
    from city_platform.local.clock import SystemClock
    from city_platform.local.incident_stream import SqliteIncidentStream
    from city_platform.local.incidents import SqliteIncidentRepository
    from city_platform.local.runner import EventSourceMapping

    if deployment(os.environ) != "local":
        session.fail(USAGE, "on AWS the stream's function and the export's state machine do this: there is none to run")
    path, store = _open(session), session.platform().lake.store
    clock = SystemClock()
    repository = SqliteIncidentRepository(session.home / "incidents" / "incidents.sqlite", clock)
    service = open_incident_service(session.platform(), repository)
    mapping = EventSourceMapping(
        SqliteIncidentStream(repository),
        READER,
        lambda event: path.processor.process(event).partial_answer(),
        lambda record, reason: path.dead_letters.keep([(record, reason)]),
    )

    def see_to_overdue() -> Counter[str]:
        return Counter(
            rejected=len(reject_unanswered(service, repository, clock.now())),
            anonymised=anonymise(repository, clock.now()),
            removed=repository.expire(AT_ONCE),
            uploads=drop_uploads(store, clock.now()),
        )

    return path, mapping, see_to_overdue


def _timezone() -> str:
    from city_platform.deployment.incidents import open_reference

    return str(open_reference().zone)


@app.command(
    epilog="Examples: city-platform incidents trace --status resolved --district mount-pleasant\n\n"
    "city-platform incidents trace --category waste --rows 5 --json"
)
def trace(
    region: Annotated[str | None, typer.Option(help="Of this region alone.")] = None,
    district: Annotated[str | None, typer.Option(help="Of this district alone.")] = None,
    status: Annotated[str | None, typer.Option(help="With this status alone.")] = None,
    category: Annotated[str | None, typer.Option(help="Of this category alone.")] = None,
    rows: Annotated[int, typer.Option(min=0, max=100, help="How many of the incidents to trace to their changes.")] = 0,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Trace a count of the dashboard to the published rows and the exported changes behind it.

    Counts are those of the newest open data. Exit code 1 where a year has more or fewer rows than it counts.
    """
    from city_platform.cli.table import ShownTable
    from city_platform.layers.trace_reports import NoSuchValue, trace_count

    session = Session.start(home, as_json=as_json)
    asked = {"region": region, "district": district, "status": status, "category": category}
    where = {name: value for name, value in asked.items() if value is not None}
    with session.errors():
        try:
            found = trace_count(session.platform(), where, rows)
        except NoSuchValue as error:
            session.fail(USAGE, str(error))
        zone = session.dataset("incidents").contract.timezone
    session.result(found.to_json())
    if not as_json:
        named = ", ".join(f"{name} {value}" for name, value in where.items()) or "all"
        table = ShownTable(title=f"Public incidents, {named}: {found.total:,}")
        for name in ("year", "counted", "rows", "published", "version", "file", "sha256"):
            table.add_column(name, justify="right" if name in {"counted", "rows"} else "left")
        for year in found.years:
            for place, (key, sha256) in enumerate(year.files):
                at = local(year.published_at, zone)
                first = (year.year, f"{year.counted:,}", f"{year.rows:,}", at, year.version)
                table.add_row(*(first if not place else [""] * len(first)), key, sha256)
        session.out.print(table)
        for report in found.reports:
            session.out.print(f"{report.service_request_id} ({report.year})", markup=False, highlight=False)
            for one in report.changes:
                said = f"  version {one.version} {one.event}: row {one.row} of {one.file}"
                session.out.print(f"{said} (sha256 {found.exports[one.file]})", markup=False, highlight=False)
    raise SystemExit(OK if found.borne_out else FAILED)
