"""`city-platform recipes`: the versions of a dataset's recipe; any recipe run on a file."""

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from city_platform.cli.options import DatasetName, Home, Json
from city_platform.cli.session import REFUSED, USAGE, Session, local

app = typer.Typer(
    help="The datasets' cleaning recipes and their published versions; any recipe run on a file.", no_args_is_help=True
)

_VERSIONS = "1.0, 2.0 …, LATEST_WORKING (recipe.json) or LATEST_PUBLISHED."


@app.command("publish", epilog='Example: city-platform recipes publish parking_tickets -m "Unify statuses"')
def publish_recipe(
    dataset: DatasetName,
    description: Annotated[str, typer.Option("--description", "-m", help="What the version changes, and why.")],
    as_json: Json = False,
) -> None:
    """Publish recipe.json as the next version, which nobody may edit from then on. Commit the two files it writes."""
    from datetime import UTC, datetime

    from city_platform.cleaning.versions import publish

    session = Session.start(None, as_json=as_json)
    with session.errors():
        chosen = session.dataset(dataset)
        now = datetime.now(UTC)
        version = publish(
            chosen.folder, dataset, chosen.working_recipe, chosen.recipe_versions, description.strip(), now
        )
    session.result({"dataset": dataset, "version": version.number, "hash": version.hash})
    if not as_json:
        session.out.print(f"{dataset}: published version {version.number} (sha256 {version.hash[:16]}…)")


@app.command(
    "apply",
    epilog="Examples: city-platform recipes apply by_status.json licences.csv.gz --out by_status.csv "
    "--dataset business_licences\n\n"
    "city-platform recipes apply wide.json counts.xlsx --out wide.parquet --json",
)
def apply_to_file(
    recipe: Annotated[Path, typer.Argument(help="A DataBrew recipe as JSON, or a published version of one.")],
    file: Annotated[Path, typer.Argument(help="CSV, JSON lines or xlsx, also gzipped.")],
    out: Annotated[Path, typer.Option("--out", help="The file to write, .csv or .parquet; it must not exist.")],
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="Whose file it is: its contract's names, its personal columns.")
    ] = None,
    timezone: Annotated[
        str, typer.Option(help="Without a dataset: the zone of times without an offset.")
    ] = "America/Vancouver",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Run a recipe on a file and write the result, as a DataBrew recipe job does; the lake stays as it is.

    Here a recipe may also group, pivot and unpivot rows. With --dataset, personal columns are masked before the first
    step, as in the dataset's summary. Without it nobody knows what is personal: the result is for your eyes.
    """
    from city_platform.cli.work import advancing, progress
    from city_platform.layers.recipe_job import FORMATS, apply_recipe

    session = Session.start(home, as_json=as_json)
    with session.errors():
        if out.suffix not in FORMATS:
            session.fail(USAGE, f"{out} ends in neither {' nor '.join(FORMATS)}: the ending says the format")
        if out.exists() or not out.parent.is_dir():
            why = "exists already: name another file, or remove it" if out.exists() else "stands in no folder: make it"
            session.fail(USAGE, f"{out} {why}")
        session.zone(timezone)
        if not file.is_file():
            session.fail(REFUSED, f"{file} is no file: name a source file")
        chosen = session.dataset(dataset) if dataset else None
        of = (session.platform(), chosen) if chosen else None
        text = session.text(recipe)
        with progress(session) as bars:
            bar = bars.add_task(f"reading {file.name}", total=None)
            done = advancing(bars, bar)
            try:
                applied = apply_recipe(text, recipe.name, file, out, timezone=timezone, of=of, progress=done)
            except OSError as error:
                session.fail(REFUSED, f"{error.filename or out} cannot be read or written: {error.strerror}")
    session.result({"file": file.name, "recipe": recipe.name, "dataset": dataset, "out": out, **applied.to_json()})
    if as_json:
        return
    counts = f"{applied.rows_in:,} rows in, {applied.removed:,} removed by the recipe, {applied.rows:,} rows out"
    lines = [f"{out}: {counts}, {len(applied.columns)} columns"]
    if applied.masked:
        lines.append(f"Masked before the first step: {', '.join(applied.masked)}")
    session.out.print(*lines, sep="\n", markup=False, highlight=False, soft_wrap=True)
    warnings = [
        *applied.unreadable,
        *(f"{name}: {count:,} values are not of its type, and missing" for name, count in applied.untyped.items()),
        *([] if dataset else ["No --dataset: nothing is known of personal columns, and none is masked."]),
    ]
    for line in warnings:
        session.err.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)


@app.command("list", epilog="Example: city-platform recipes list")
def list_recipes(
    dataset: Annotated[str | None, typer.Argument(help="One dataset; all of them if not given.")] = None,
    as_json: Json = False,
) -> None:
    """List versions: number, steps, when it was published, and which one runs."""
    from rich.markup import escape

    from city_platform.cli.table import ShownTable

    session = Session.start(None, as_json=as_json)
    with session.errors():
        chosen = [session.dataset(dataset)] if dataset else list(session.datasets().values())
    session.result(
        {
            "recipes": [
                {
                    "dataset": one.name,
                    "running": one.recipe_version,
                    "versions": [
                        {
                            "version": version.number,
                            "hash": version.hash,
                            "steps": len(version.steps),
                            "description": version.description,
                            "published_at": version.published_at,
                        }
                        for version in (*one.recipe_versions, one.working_recipe)
                    ],
                }
                for one in chosen
            ]
        }
    )
    if as_json:
        return
    shown = ShownTable()
    for name in ("dataset", "version", "runs", "steps", "sha256", "published", "description"):
        shown.add_column(name, justify="right" if name == "steps" else "left", no_wrap=name in {"dataset", "version"})
    for one in chosen:
        for version in (*one.recipe_versions, one.working_recipe):
            runs = version.number == one.recipe_version
            same = version.number == one.working_recipe.number and not runs
            published = version.published_at
            shown.add_row(
                one.name,
                version.number,
                "✓" if runs else "",
                str(len(version.steps)),
                version.hash[:8],
                local(published, one.contract.timezone) if published else "",
                f"equals {one.recipe_version}" if same else escape(version.description),
            )
    session.out.print(shown)


@app.command("show", epilog="Example: city-platform recipes show parking_tickets --version 1.0")
def show_recipe(
    dataset: DatasetName,
    version: Annotated[str, typer.Option(help=_VERSIONS)] = "LATEST_WORKING",
    as_json: Json = False,
) -> None:
    """Show a version's steps; with --json they stand as DataBrew takes them."""
    from city_platform.cleaning.versions import find

    session = Session.start(None, as_json=as_json)
    with session.errors():
        chosen = session.dataset(dataset)
        found = find(version, chosen.working_recipe, chosen.recipe_versions)
    session.result({"dataset": dataset, "version": found.number, "hash": found.hash, "Steps": found.steps})
    if not as_json:
        session.out.print(f"[bold]{dataset} {found.number}[/]  sha256 {found.hash[:16]}…  {len(found.steps)} steps")
        for number, one in enumerate(found.steps, start=1):
            session.out.print(f"{number:3} {_line(one)}", markup=False, highlight=False)


@app.command("diff", epilog="Example: city-platform recipes diff parking_tickets 1.0 2.0")
def diff_recipes(
    dataset: DatasetName,
    before: Annotated[str, typer.Argument(help=_VERSIONS)] = "LATEST_PUBLISHED",
    after: Annotated[str, typer.Argument(help=_VERSIONS)] = "LATEST_WORKING",
    as_json: Json = False,
) -> None:
    """Show the steps in which two versions differ; exit code 0 even if they do."""
    from city_platform.cleaning.versions import find

    session = Session.start(None, as_json=as_json)
    with session.errors():
        chosen = session.dataset(dataset)
        old, new = (find(one, chosen.working_recipe, chosen.recipe_versions) for one in (before, after))
    was, became = ([_line(step) for step in one.steps] for one in (old, new))
    changes = list(difflib.unified_diff(was, became, old.number, new.number, n=0, lineterm=""))
    removed = [line[1:] for line in changes[2:] if line.startswith("-")]
    added = [line[1:] for line in changes[2:] if line.startswith("+")]
    session.result({"dataset": dataset, "before": old.number, "after": new.number, "removed": removed, "added": added})
    if not as_json:
        session.out.print(*(changes or [f"{old.number} and {new.number} say the same"]), sep="\n", markup=False)


def _line(step: Mapping[str, Any]) -> str:
    """A step on one line."""
    action = step["Action"]
    given = ", ".join(
        f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in action.get("Parameters", {}).items()
    )
    conditions = " and ".join(
        " ".join(str(one[part]) for part in ("TargetColumn", "Condition", "Value") if part in one)
        for one in step.get("ConditionExpressions", ())
    )
    return f"{action['Operation']}({given})" + (f" where {conditions}" if conditions else "")
