"""`city-platform profile`: what a dataset or any file looks like inside."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from city_platform.cli.options import Home
from city_platform.cli.session import OK, REFUSED, USAGE, Session, no_such

if TYPE_CHECKING:
    from city_platform.profiling.model import Profile

app = typer.Typer()


@app.command(
    epilog="Examples: city-platform profile business_licences --partition 2024 --html profile.html\n\n"
    "city-platform profile exports/tickets.csv.gz"
)
def profile(
    subject: Annotated[
        str,
        typer.Argument(metavar="DATASET_OR_FILE", help="A CSV, JSON lines, xlsx or Parquet file, or a dataset's name."),
    ],
    partition: Annotated[
        list[str] | None,
        typer.Option("--partition", "-p", help="A year, day or hour of the dataset; repeatable. Default: all."),
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write the report to this file as well.")] = None,
    timezone: Annotated[
        str, typer.Option(help="For a file: the zone of its times without an offset.")
    ] = "America/Vancouver",
    home: Home = None,
    as_json: Annotated[bool, typer.Option("--json", help="The whole profile as one JSON object.")] = False,
) -> None:
    """Show rows, columns, missing and invalid cells, duplicates, types, values and outliers.

    A dataset's cleaned rows, or any file, which then needs neither contract nor lake. Values of personal columns, and
    of those that seem to be personal, are never shown.
    """
    from city_platform.cli.table import ShownTable
    from city_platform.cli.work import advancing, progress
    from city_platform.profiling.report import column_rows, overview, report

    session = Session.start(home, as_json=as_json)
    with session.errors(), progress(session) as bars:
        bar = bars.add_task(f"profiling {subject}, columns", total=None)
        done = advancing(bars, bar)
        if Path(subject).is_file():
            found = _of_file(session, Path(subject), partition, timezone, done)
        else:
            found = _of_dataset(session, subject, partition, done)
        if html is not None:
            _write_private(html, report(found))
    session.result({**found.to_json(), **({"html": html} if html else {})})
    if not as_json:
        session.out.print(f"[bold]{found.name}[/]", highlight=False)
        session.out.print(", ".join(f"{name} {value}" for name, value in overview(found).items()), highlight=False)
        rows = column_rows(found)
        shown = ShownTable()
        for name in rows[0] if rows else ():
            right = name in {"missing", "invalid", "distinct", "unique"}
            shown.add_column(name, justify="right" if right else "left", no_wrap=right, overflow="fold")
        for row in rows:
            shown.add_row(*row.values())
        session.out.print(shown, markup=False)
        for finding in found.findings:
            session.out.print(finding, style="yellow", markup=False, highlight=False)
        if html is not None:
            session.out.print(f"Report: {html}", markup=False, highlight=False)
    raise SystemExit(OK)


def _of_file(
    session: Session, file: Path, partitions: list[str] | None, timezone: str, done: Callable[[int], None]
) -> "Profile":
    from city_platform.profiling.files import profile_file

    if partitions:
        session.fail(USAGE, f"--partition goes with a dataset, and {file} is a file")
    session.zone(timezone)
    try:
        return profile_file(file, timezone, done)
    except OSError as error:
        session.fail(REFUSED, f"{file} cannot be read: {error.strerror}")


def _of_dataset(session: Session, name: str, partitions: list[str] | None, done: Callable[[int], None]) -> "Profile":
    from city_platform.layers.profile import UPSTREAM, profile_of

    known = session.datasets()
    if name not in known:
        session.fail(USAGE, f"{name} is no file, and {no_such('dataset', name, known)}")
    platform = session.platform()
    chosen = sorted(set(partitions or platform.lake.partitions(UPSTREAM, name)))
    if not chosen:
        session.fail(REFUSED, f"{name} has no cleaned rows yet: ingest a file first")
    return profile_of(platform, known[name], chosen, done)


def _write_private(path: Path, text: str) -> None:
    """Statistics of what may be internal data are for the caller's eyes."""
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
