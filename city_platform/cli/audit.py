"""`city-platform audit`: who decided what, and whether that record can be believed."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import typer

from city_platform.cli.options import Home, Json
from city_platform.cli.session import FAILED, OK, USAGE, Session, local

app = typer.Typer(help="The audit log: who decided what, when and why.", no_args_is_help=True)


@app.command(
    epilog="Examples: city-platform audit verify\n\n"
    "city-platform audit verify --head 12:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
)
def verify(
    head: Annotated[
        str | None,
        typer.Option(help="A head noted earlier (NUMBER:SHA256): shows also a log that was written anew as a whole."),
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Check that no entry was changed, removed, inserted or moved. Exit code 1 where one was."""
    from city_platform.governance.audit import Head

    session = Session.start(home, as_json=as_json)
    expected = None
    if head is not None:
        number, _, digest = head.partition(":")
        if not (number.isascii() and number.isdecimal() and len(digest) == len("0" * 64)):
            session.fail(USAGE, "a head is a number, ':' and 64 hexadecimal digits, as `audit verify` prints it")
        expected = Head(int(number), digest.lower())
    with session.errors():
        log = session.platform().audit.verify(expected)
    session.result({"intact": log.intact, "entries": len(log.entries), "breaks": log.breaks, "head": str(log.head)})
    if not as_json:
        if log.intact:
            session.out.print(f"{len(log.entries)} entries, intact. Head: {log.head}", highlight=False, soft_wrap=True)
        for one in log.breaks:
            session.err.print(one, style="red", markup=False, highlight=False)
        if log.breaks:
            session.err.print("No waiver counts until the objects are restored from a backup or the bucket's versions.")
    raise SystemExit(OK if log.intact else FAILED)


@app.command(epilog="Example: city-platform audit show --dataset parking_tickets --last 20")
def show(
    dataset: Annotated[str | None, typer.Option("--dataset", "-d", help="Only entries about this dataset.")] = None,
    last: Annotated[int, typer.Option(min=1, max=10_000, help="How many of the newest entries.")] = 50,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show the entries, newest last."""
    import json

    from rich.text import Text

    from city_platform.cli.table import ShownTable

    session = Session.start(home, as_json=as_json)
    with session.errors():
        log = session.platform().audit.read()
        timezones = {name: one.contract.timezone for name, one in session.datasets().items()}
    entries = [one for one in log.entries if dataset is None or one.facts.get("dataset") == dataset][-last:]
    session.result(
        {"intact": log.intact, "breaks": log.breaks, "entries": [json.loads(one.to_json()) for one in entries]}
    )
    if not as_json:
        table = ShownTable("no.", "at", "actor", "account", "what", "about", "why")
        for one in entries:
            zone = timezones.get(str(one.facts.get("dataset")), "UTC")
            about = " ".join(str(one.facts[name]) for name in ("dataset", "partition") if name in one.facts)
            what = one.action + _told(one.facts, zone)
            why = str(one.facts.get("reason") or one.facts.get("attempted") or "")
            row = (str(one.sequence), local(one.at, zone), one.actor, one.account, what, about, why)
            table.add_row(*map(Text, row))  # what people wrote is no markup
        session.out.print(table if entries else "No entries.")
        for broken in log.breaks:
            session.err.print(broken, style="red", markup=False, highlight=False)
    raise SystemExit(OK if log.intact else FAILED)


def _told(facts: Mapping[str, Any], zone: str) -> str:
    """Rules and the end of a waiver; as they stand where somebody wrote something else, for that is when one looks."""
    rules, until = facts.get("rules"), facts.get("expires_at")
    told = f" {', '.join(map(str, rules))}" if isinstance(rules, list) and rules else ""
    if until is not None:
        try:
            told += f" until {local(datetime.fromisoformat(until), zone)}"
        except (ValueError, TypeError, OverflowError):
            told += f" until {until}"
    return told
