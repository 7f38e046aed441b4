"""`city-platform catalog`: what there is, where it is, and what it means."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from city_platform.cli.options import Actor, Home, Json, Reason
from city_platform.cli.session import CHECKOUT, FAILED, OK, USAGE, Session

if TYPE_CHECKING:
    from city_platform.layers.catalog import Refreshed
    from city_platform.ports import CatalogTable

app = typer.Typer(
    help="The tables of the lake: find them, read about them, keep them up to date.", no_args_is_help=True
)

Table = Annotated[str, typer.Argument(metavar="TABLE", help="As `catalog list` shows it: curated.parking_tickets.")]


@app.command(epilog="Example: city-platform catalog refresh")
def refresh(home: Home = None, as_json: Json = False) -> None:
    """Bring the catalog up to date with the lake; breaking changes wait for `approve`.

    Exit code 1: something waits, is not described, or is there twice.
    """
    from city_platform.layers import catalog

    session = Session.start(home, as_json=as_json)
    with session.errors():
        found = catalog.refresh(session.platform(), list(session.datasets().values()))
    _report(session, found)


@app.command(
    epilog="Example: city-platform catalog approve cleaned.parking_tickets --actor open-data-steward "
    "--reason 'The source writes blocks as text from now on'"
)
def approve(
    table: Table,
    actor: Actor,
    reason: Reason,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Let a table's breaking changes, removed columns and other types, happen."""
    from city_platform.layers import catalog

    session = Session.start(home, as_json=as_json)
    with session.errors():
        datasets = list(session.datasets().values())
        try:
            found = catalog.approve(
                session.platform(), datasets, table, actor=actor.strip(), account=session.account(), reason=reason
            )
        except catalog.UnknownTable as error:
            session.fail(USAGE, str(error))
    _report(session, found)


def _report(session: Session, found: "Refreshed") -> NoReturn:
    session.result(_body(found))
    if not session.as_json:
        _show(session, found)
    problems = found.undescribed or found.duplicates or any(one.held or one.held_partitions for one in found.reports)
    raise SystemExit(FAILED if problems else OK)


@app.command("list", epilog="Example: city-platform catalog list --json")
def list_tables(home: Home = None, as_json: Json = False) -> None:
    """List every table with its columns, partitions and schema version."""
    session = Session.start(home, as_json=as_json)
    with session.errors():
        catalog = session.platform().catalog
        tables = catalog.tables()
        years = {_name(one): [part.value for part in catalog.partitions(one.database, one.name)] for one in tables}
    rows = [
        {
            "table": _name(one),
            "version": one.version,
            "columns": len(one.columns),
            "partitions": len(years[_name(one)]),
            "newest": max(years[_name(one)], default="-"),
            "owner": one.owner,
        }
        for one in tables
    ]
    session.result({"tables": rows})
    if not as_json:
        _print(session, rows, "The catalog is empty. Try: city-platform catalog refresh")


@app.command(epilog="Example: city-platform catalog show curated.business_licences")
def show(table: Table, home: Home = None, as_json: Json = False) -> None:
    """Show a table: what it is, its columns, its partitions and what changed in its schema."""
    session = Session.start(home, as_json=as_json)
    with session.errors():
        catalog = session.platform().catalog
        database, _, name = table.partition(".")
        versions = catalog.versions(database, name)
        if not versions:
            known = [_name(one) for one in catalog.tables()]
            if not known:
                session.fail(USAGE, f"there is no table {table!r}; the catalog is empty, run: catalog refresh")
            session.unknown("table", table, known)
        partitions = catalog.partitions(database, name)
    newest = versions[-1]
    session.result(
        {
            **asdict(newest),
            "history": [{"version": one.version, "changes": one.changes} for one in versions],
            "partitions": [asdict(one) for one in partitions],
        }
    )
    if not as_json:
        session.out.print(f"[bold]{table}[/]  {newest.owner}", highlight=False)
        session.out.print(newest.description, markup=False, highlight=False)
        columns = [*newest.columns, *newest.partition_keys]
        _print(session, [asdict(column) for column in columns], "")
        for one in versions:
            session.out.print(f"version {one.version}: {'; '.join(one.changes)}", markup=False, highlight=False)
        session.out.print(f"partitions: {', '.join(one.value for one in partitions) or 'none'}", highlight=False)


@app.command(epilog="Example: city-platform catalog search licence fee")
def search(
    words: Annotated[list[str], typer.Argument(help="What names or descriptions hold, every word of it.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Find tables and columns by name or description."""
    from city_platform.catalog.discovery import search as find

    session = Session.start(home, as_json=as_json)
    with session.errors():
        hits = find(session.platform().catalog.tables(), " ".join(words))
    session.result({"hits": [asdict(hit) for hit in hits]})
    if not as_json:
        _print(
            session, [asdict(hit) for hit in hits], "Nothing found. `city-platform catalog list` shows what there is."
        )


@app.command(epilog="Example: city-platform catalog dictionary --out dictionary/")
def dictionary(
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for the pages; made if it is not there.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Write the data dictionary: a page a dataset and an index, to be opened in any browser."""
    from city_platform.layers.catalog import dictionary_pages

    session = Session.start(home, as_json=as_json)
    with session.errors():
        pages = dictionary_pages(session.platform(), list(session.datasets().values()))
        out.mkdir(parents=True, exist_ok=True)
        for name, html in pages.items():
            (out / name).write_text(html, encoding="utf-8")
    session.result({"pages": [out / name for name in pages]})
    if not as_json:
        session.out.print(f"{len(pages)} pages, start at {out / 'index.html'}", markup=False, highlight=False)


@app.command(epilog="Examples: city-platform catalog pages\n\ncity-platform catalog pages --check")
def pages(
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for the pages.")] = CHECKOUT / "docs",
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit code 1 where a page is not as it would be written.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write pages of data flows, processing and governance, and the architecture's diagram, from the definitions."""
    from city_platform.catalog.handbook import handbook
    from city_platform.infrastructure.architecture import architecture
    from city_platform.infrastructure.drawing import drawio, svg
    from city_platform.orchestration import orchestrator

    session = Session.start(None, as_json=as_json)
    with session.errors():
        written = dict(handbook(list(session.datasets().values()), orchestrator().data_flow(session.home)))
    diagram = architecture()
    written |= {"architecture.drawio": drawio(diagram), "architecture.svg": svg(diagram)}
    files = {out / name: text for name, text in written.items()}
    stale = [file for file, text in files.items() if not file.is_file() or file.read_text("utf-8") != text]
    if not check:
        out.mkdir(parents=True, exist_ok=True)
        for file in stale:
            file.write_text(files[file], "utf-8", newline="\n")
    session.result({"pages": list(files), "changed": stale})
    if not as_json:
        for file in files:
            state = "is as it should be" if file not in stale else "is out of date" if check else "written"
            session.out.print(f"{file}: {state}", markup=False, highlight=False, soft_wrap=True)
    raise SystemExit(FAILED if check and stale else OK)


def _name(table: "CatalogTable") -> str:
    return f"{table.database}.{table.name}"


def _body(found: "Refreshed") -> Mapping[str, Any]:
    return {
        "tables": [
            {
                "table": one.table,
                "version": one.version,
                "changes": [change.message for change in one.changes],
                "held": [change.message for change in one.held],
                "registered": one.registered,
                "held_partitions": dict(one.held_partitions),
            }
            for one in found.reports
        ],
        "columns": found.columns,
        "views": found.views,
        "undescribed": found.undescribed,
        "duplicates": [asdict(one) for one in found.duplicates],
    }


def _show(session: Session, found: "Refreshed") -> None:
    changed = sum(bool(one.changes) for one in found.reports)
    registered = sum(len(one.registered) for one in found.reports)
    session.out.print(
        f"{len(found.tables)} tables, {found.columns:,} columns, {len(found.views)} views; "
        f"{changed} tables changed, {registered} partitions registered.",
        highlight=False,
    )
    problems = [f"{one.table} waits for approval: {change.message}" for one in found.reports for change in one.held]
    problems += [
        f"{one.table} {year} is held: {why}" for one in found.reports for year, why in one.held_partitions.items()
    ]
    problems += [f"not described: {one}" for one in found.undescribed]
    problems += [f"{one.one} and {one.other}: {one.reason}" for one in found.duplicates]
    for problem in problems:
        session.err.print(problem, style="yellow", markup=False, highlight=False)


def _print(session: Session, rows: Sequence[Mapping[str, object]], empty: str) -> None:
    from city_platform.cli.table import ShownTable

    if not rows:
        session.out.print(empty, markup=False)
        return
    shown = ShownTable(*rows[0])
    for row in rows:
        shown.add_row(*(str(cell) for cell in row.values()))
    session.out.print(shown, markup=False)
