"""`city-platform open311`: who may send requests."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from city_platform.cli.options import Home, Json
from city_platform.cli.session import OK, USAGE, Session, local

if TYPE_CHECKING:
    from city_platform.incidents.api_keys import ApiKey, ApiKeys

app = typer.Typer(help="Open311: the interface for applications of many cities.", no_args_is_help=True)
keys_app = typer.Typer(help="Keys of applications that send requests.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")


@keys_app.command(epilog="Example: city-platform open311 keys create 'Street reporter for Android'")
def create(
    application: Annotated[str, typer.Argument(help="What the key is for: an application, not a person.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make a key for an application. It is shown once: only its hash is kept."""
    session = Session.start(home, as_json=as_json)
    with session.errors():
        record, key = _registry(session).create(application)
    session.result({**_body(record), "api_key": key})
    if not as_json:
        session.out.print(key, soft_wrap=True, highlight=False)
        session.err.print(f"Give it to {record.application} now: nobody can show it again.", markup=False)
    raise SystemExit(OK)


@keys_app.command("list", epilog="Example: city-platform open311 keys list --json")
def list_keys(home: Home = None, as_json: Json = False) -> None:
    """List all keys, also those revoked, without their secrets."""
    from rich.markup import escape

    from city_platform.cli.table import ShownTable
    from city_platform.deployment.incidents import open_reference

    session = Session.start(home, as_json=as_json)
    with session.errors():
        found = _registry(session).all()
    session.result({"keys": [_body(one) for one in found]})
    if not as_json:
        zone = open_reference().city.timezone
        table = ShownTable("key", "application", "created", "revoked")
        for one in found:
            revoked = local(one.revoked_at, zone) if one.revoked_at else ""
            table.add_row(one.key_id, escape(one.application), local(one.created_at, zone), revoked)
        session.out.print(table)
    raise SystemExit(OK)


@keys_app.command(epilog="Example: city-platform open311 keys revoke 3f9c1e0b7a52")
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="KEY", help="The key's first part, as `keys list` shows it.")],
    home: Home = None,
    as_json: Json = False,
) -> None:
    """End a key. Servers that run notice within half a minute."""
    from city_platform.deployment.incidents import open_reference
    from city_platform.incidents.api_keys import UnknownApiKey

    session = Session.start(home, as_json=as_json)
    with session.errors():
        try:
            record = _registry(session).revoke(key_id)
        except UnknownApiKey as error:
            session.fail(USAGE, str(error))
    session.result(_body(record))
    if not as_json and record.revoked_at:
        zone = open_reference().city.timezone
        session.out.print(f"{record.application}: revoked {local(record.revoked_at, zone)}", markup=False)
    raise SystemExit(OK)


def _registry(session: Session) -> "ApiKeys":
    from city_platform.incidents.api_keys import ApiKeys

    platform = session.platform()
    return ApiKeys(platform.lake.store, platform.clock)


def _body(record: "ApiKey") -> dict[str, Any]:
    return {
        "key": record.key_id,
        "application": record.application,
        "created_at": record.created_at.isoformat(),
        "revoked_at": record.revoked_at.isoformat() if record.revoked_at else None,
    }
