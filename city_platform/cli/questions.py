"""`city-platform questions`: the answers to the datasets' business questions."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from city_platform.cli.options import Home, Json
from city_platform.cli.session import OK, USAGE, Session

if TYPE_CHECKING:
    from city_platform.datasets import Dataset
    from city_platform.layers.questions import Answer

app = typer.Typer()


@app.command(
    epilog="Examples: city-platform questions business_licences --charts charts/\n\n"
    "city-platform questions --athena > questions.sql"
)
def questions(
    datasets: Annotated[
        list[str] | None, typer.Argument(metavar="[DATASET]...", help="Default: all that have any.")
    ] = None,
    charts: Annotated[Path | None, typer.Option("--charts", help="Write the charts as PNG to this folder.")] = None,
    athena: Annotated[bool, typer.Option("--athena", help="Print the questions in Athena's SQL; answer none.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Answer the questions in the datasets' folders from the trusted rows of all years, and keep the answers."""
    from city_platform.layers.questions import materialize

    session = Session.start(home, as_json=as_json)
    with session.errors():
        known = session.datasets()
        chosen = [session.dataset(name) for name in datasets or () if name] or [
            dataset for dataset in known.values() if dataset.questions
        ]
        if athena:
            _print_for_athena(session, chosen)
        if charts is not None and charts.exists() and not charts.is_dir():
            session.fail(USAGE, f"{charts} is a file: name a folder for the charts")
        platform = session.platform()
        found = {dataset.name: materialize(platform, dataset) for dataset in chosen}
    session.result(
        {
            "answers": {
                name: {
                    one.question.name: {
                        "question": one.question.title,
                        "rows": [dict(zip(one.headers, row, strict=True)) for row in one.rows],
                        "trace": _trace(name, one),
                    }
                    for one in answers
                }
                for name, (_, answers) in found.items()
            }
        }
    )
    for name, (manifest, answers) in found.items():
        if not as_json:
            years = ", ".join(manifest.details["years"])
            closed = ", ".join(manifest.details["years_behind_a_closed_gate"])
            left_out = f"; left out behind a closed gate: {closed}" if closed else ""
            session.out.print(f"[bold]{name}[/], {years}{left_out}", highlight=False)
            for answer in answers:
                _print(session, answer)
                session.out.print(f"Where a row comes from: {_trace(name, answer)}", markup=False, highlight=False)
        for answer in answers:
            if charts is not None and answer.chart is not None:
                file = charts / f"{name}-{answer.question.name}.png"
                with session.errors():
                    charts.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(answer.chart)
                session.err.print(f"Chart: {file}", markup=False, highlight=False)


def _print_for_athena(session: Session, datasets: Sequence["Dataset"]) -> NoReturn:
    """The questions over the tables of the catalog; those that read encrypted columns are named."""
    from city_platform.deployment.analytics.athena import encrypted_questions, questions

    asked: dict[str, dict[str, str]] = {dataset.name: {} for dataset in datasets}
    for query in questions(datasets):
        asked[query.dataset][query.name] = query.athena
    left_out = {dataset.name: encrypted_questions(dataset) for dataset in datasets}
    session.result({"questions": asked, "encrypted": left_out})
    if not session.as_json:
        for name, queries in asked.items():
            for query_name, sql in queries.items():
                typer.echo(f"-- {name}/{query_name}\n{sql.rstrip()};\n")
            for query_name, columns in left_out[name].items():
                typer.echo(f"-- {name}/{query_name}: not in Athena, where {', '.join(columns)} cannot be read\n")
    raise SystemExit(OK)


def _trace(dataset: str, answer: "Answer") -> str:
    """How to ask where a row's figures come from: the first row's, by what stands first in it."""
    from city_platform.layers.trace import command

    named = {answer.headers[0]: str(answer.rows[0][0])} if len(answer.rows) > 1 else {}
    return command(dataset, question=answer.question.name, where=named)


def _print(session: Session, answer: "Answer") -> None:
    from city_platform.cli.table import ShownTable

    table = ShownTable(title=answer.question.title)
    for place, header in enumerate(answer.headers):
        numeric = all(row[place] is None or not isinstance(row[place], str) for row in answer.rows)
        table.add_column(header, justify="right" if numeric else "left", overflow="fold")
    for row in answer.rows:
        table.add_row(*(_cell(header, value) for header, value in zip(answer.headers, row, strict=True)))
    session.out.print(table, markup=False)


def _cell(header: str, value: object) -> str:
    """A value for people: numbers with a comma at the thousands, but no year."""
    if isinstance(value, int | Decimal) and "Year" not in header:
        return f"{value:,}"
    return "" if value is None else str(value)
