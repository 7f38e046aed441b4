"""`city-platform recipes`: the versions of a dataset's recipe."""

import difflib
import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from city_platform.cli.session import Session, local

app = typer.Typer(help="The datasets' cleaning recipes and their published versions.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output instead of tables.")]
Name = Annotated[str, typer.Argument(help="The dataset's name, as `datasets list` shows it.")]
_VERSIONS = "1.0, 2.0 …, LATEST_WORKING (recipe.json) or LATEST_PUBLISHED."


@app.command("publish", epilog='Example: city-platform recipes publish parking_tickets -m "Unify statuses"')
def publish_recipe(
    dataset: Name,
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


@app.command("list", epilog="Example: city-platform recipes list")
def list_recipes(
    dataset: Annotated[str | None, typer.Argument(help="One dataset; all of them if not given.")] = None,
    as_json: Json = False,
) -> None:
    """List versions: number, steps, when it was published, and which one runs."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

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
    shown = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
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
    dataset: Name,
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
    dataset: Name,
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
