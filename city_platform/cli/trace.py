"""`city-platform trace`: what a published figure is made of."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from city_platform.cli.options import DatasetName, Home, Json
from city_platform.cli.session import FAILED, OK, USAGE, Session

if TYPE_CHECKING:
    from city_platform.layers.trace import Trace

app = typer.Typer()


@app.command(
    epilog="Examples: city-platform trace parking_tickets 2024\n\n"
    "city-platform trace animal_register 2021 --where 'Month Impounded=2021-03-01' --where Source=Stray "
    "--where Outcome=Adopted --column Animals --rows 20\n\n"
    "city-platform trace traffic_readings 2026-03-09-16 --where zone=z-031 --column vehicles --total\n\n"
    "city-platform trace business_licences --question average_fee --html fee.html"
)
def trace(
    dataset: DatasetName,
    partition: Annotated[
        str | None, typer.Argument(help="The year, day or hour. Not with --question, which asks all of them.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", "-w", help="COLUMN=VALUE of the published row; repeatable. Nothing behind = is empty."),
    ] = None,
    column: Annotated[str | None, typer.Option("--column", "-c", help="The figure's column. Default: all.")] = None,
    total: Annotated[
        bool, typer.Option("--total", help="The column's sum over all rows that fit: of counts and sums alone.")
    ] = False,
    question: Annotated[
        str | None, typer.Option("--question", "-q", help="Trace the newest answer to this question instead.")
    ] = None,
    rows: Annotated[int, typer.Option(min=0, max=1000, help="How many of the rows behind it to show.")] = 0,
    actor: Annotated[
        str | None,
        typer.Option(
            envvar="CITY_PLATFORM_ACTOR",
            help="Your account in the dataset's team: it may see internal columns, too. Without: public ones.",
        ),
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write it as a page of one file.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Trace a published figure to its rows, rules, recipe, sources and keys.

    The rows are found by the summary's own grouping, and proved: the summary is run over them alone and has to give the
    published row again. Exit code 1 where it does not, or where a published file was changed. Personal values are never
    shown.
    """
    from city_platform.layers.trace import Asked, command, trace_answer
    from city_platform.layers.trace import trace as traced
    from city_platform.layers.trace_page import html as page
    from city_platform.layers.trace_rows import NoSuchRow, SeveralRows

    session = Session.start(home, as_json=as_json)
    if (partition is None) == (question is None):
        session.fail(USAGE, "name a partition, as `city-platform status` shows it, or a --question")
    named: dict[str, str] = {}
    for one in where or ():
        name, separator, value = one.partition("=")
        if not separator or not name or name in named:
            session.fail(USAGE, f"{one!r}: write --where COLUMN=VALUE, once a column")
        named[name.strip()] = value
    with session.errors():
        chosen, platform = session.dataset(dataset), session.platform()
        asked = Asked(named, column, rows, actor, total)
        try:
            if question is not None:
                found = trace_answer(platform, chosen, question, asked)
            else:
                found = traced(platform, chosen, partition or "", asked)
        except (NoSuchRow, SeveralRows) as error:
            session.fail(USAGE, f"{dataset} {partition or question}: {error}")
        found = replace(found, run_id=_run(session, found))
        if html is not None:
            html.touch(mode=0o600)
            html.write_text(
                page(found, command(dataset, partition, question, named, column, total=total)), encoding="utf-8"
            )
    session.result(found.to_json())
    if not as_json and html is None:
        _print(session, found)
    if html is not None:
        session.err.print(f"Page: {html}", markup=False, highlight=False)
    raise SystemExit(OK if found.borne_out else FAILED)


def _run(session: Session, found: "Trace") -> str | None:
    """The run that published the version, where this machine's orchestrator knows."""
    from city_platform.layers import CURATED, questions
    from city_platform.orchestration import NoOrchestrator, orchestrator

    layer = CURATED if found.table == CURATED else questions.LAYER
    partition = found.partition if found.table == CURATED else None
    try:
        return orchestrator().run_that_made(session.home, found.dataset, layer, partition, found.version)
    except NoOrchestrator:
        return None


def _print(session: Session, found: "Trace") -> None:
    from city_platform.cli.table import ShownTable
    from city_platform.layers.trace_page import heading, sections

    session.out.print(heading(found), style="bold", markup=False, highlight=False)
    for one in sections(found):
        session.out.print()
        if not one.rows:
            session.out.print(one.title, style="italic", markup=False, highlight=False)
        for words in one.words if not one.rows else ():
            session.out.print(words, markup=False, highlight=False)
        if one.rows:
            table = ShownTable(title=one.title)
            for header in one.headers:
                table.add_column(header)
            for row in one.rows:
                table.add_row(*row)
            session.out.print(table, markup=False)
            for words in one.words:
                session.out.print(words, markup=False, highlight=False)
