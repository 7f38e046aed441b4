"""`city-platform datasets`: the folders that say what a dataset is."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from city_platform.cli.draft import draft_dataset
from city_platform.cli.options import Json
from city_platform.cli.session import OK, REFUSED, Session
from city_platform.cli.template import write_template

if TYPE_CHECKING:
    from city_platform.datasets import Folder
    from city_platform.errors import Finding

app = typer.Typer(help="The datasets' folders.", no_args_is_help=True)
app.command("template", epilog="Example: city-platform datasets template --check")(write_template)
app.command("draft", epilog="Example: city-platform datasets draft exports/trees_2024.csv --name street_trees")(
    draft_dataset
)

At = Annotated[Path | None, typer.Option("--folder", help="The folder of folders. Default: datasets/ of the checkout.")]


@app.command("check", epilog="Example: city-platform datasets check --json")
def check_datasets(folder: At = None, as_json: Json = False) -> None:
    """Report every mistake in every dataset's folder, with file, line and what to write instead.

    Rules that look wrong are shown as warnings; a rule of the gate that can never hold is a mistake. Of a draft, which
    the platform leaves out, the questions are listed that a person has to answer before its status becomes active.
    """
    from city_platform.cli.rules import lint_dataset, lint_json, show_lint
    from city_platform.datasets import load_datasets, read_folders
    from city_platform.errors import InvalidDefinition

    session = Session.start(None, as_json=as_json)
    root = folder or session.datasets_folder
    try:
        known = load_datasets(root)
    except InvalidDefinition as error:
        session.result({"mistakes": [_told(one) for one in error.findings]})
        if not as_json:
            for finding in error.findings:
                session.err.print(str(finding), markup=False, highlight=False)
            session.err.print(f"{len(error.findings)} mistakes", style="red")
        raise SystemExit(REFUSED) from None
    drafts = [one for one in read_folders(root) if one.draft]
    linted = [lint_dataset(dataset) for dataset in known]
    wrong, suspicious = ([one for both in linted for one in both[place]] for place in (0, 1))
    session.result(
        {
            "mistakes": [lint_json(one) for one in wrong],
            "warnings": [lint_json(one) for one in suspicious],
            "drafts": {one.name: [_told(finding) for finding in one.findings] for one in drafts},
        }
    )
    if not as_json:
        for one in (*suspicious, *wrong):
            show_lint(session.err, one)
        for draft in drafts:
            _show_draft(session, draft)
        count = f"{len(wrong)} mistakes" if wrong else f"no mistakes, {len(suspicious)} warnings"
        session.out.print(f"{len(known)} datasets, {count}: {', '.join(one.name for one in known)}")
    raise SystemExit(REFUSED if wrong else OK)


def _told(one: "Finding") -> dict[str, Any]:
    return {name: getattr(one, name) for name in ("file", "line", "column", "problem", "remedy")}


def _show_draft(session: Session, draft: "Folder") -> None:
    for finding in draft.findings:
        session.out.print(str(finding), markup=False, highlight=False)
    left = f"{len(draft.findings)} things are left to do" if draft.findings else "nothing is left to do"
    session.out.print(f"[yellow]{draft.name} is a draft[/], no part of the platform; {left}, then: status: active")


@app.command("list", epilog="Example: city-platform datasets list --json")
def list_datasets(as_json: Json = False) -> None:
    """List the datasets."""
    from rich.markup import escape

    from city_platform.cli.table import ShownTable
    from city_platform.datasets import read_folders

    session = Session.start(None, as_json=as_json)
    with session.errors():
        known = session.datasets()
        drafts = [one.name for one in read_folders(session.datasets_folder) if one.draft]
    session.result({"datasets": list(known), "drafts": drafts})
    if not as_json:
        table = ShownTable("dataset", "title", "cadence")
        for dataset in known.values():
            table.add_row(f"[bold]{dataset.name}[/]", escape(dataset.contract.title), dataset.contract.cadence)
        session.out.print(table)
        if drafts:
            session.out.print(f"Drafts, no part of the platform yet: {', '.join(drafts)}", highlight=False)
