"""`city-platform home`: what earlier versions of the platform left below the home, brought up to date."""

from typing import Annotated

import typer

from city_platform.cli.options import Home, Json
from city_platform.cli.session import OK, Session

app = typer.Typer(help="The folder where data lives.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keeps `upgrade` a command of its own, however few there are."""


@app.command(epilog="Example: city-platform home upgrade --dry-run")
def upgrade(
    home: Home = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is missing and change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Add to the orchestrator's settings what they lack since somebody changed them.

    Settings that nobody changed are brought up to date by themselves. What you wrote stays in front of what is added,
    and in a copy beside it. It holds from the next start of `city-platform up`.
    """
    from city_platform.orchestration import orchestrator

    session = Session.start(home, as_json=as_json)
    with session.errors():
        conductor = orchestrator()
        sections = (conductor.settings_missing if dry_run else conductor.upgrade_settings)(session.home)
    session.result({"sections": list(sections), "dry_run": dry_run})
    if not as_json:
        done = "missing" if dry_run else "added"
        session.out.print(f"{done}: {', '.join(sections)}" if sections else "Everything is up to date.")
    raise SystemExit(OK)
