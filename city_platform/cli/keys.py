"""`city-platform keys`: the keys of the encrypted layer, their rotation and their end."""

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from city_platform.cli.options import DatasetName, Home, Json
from city_platform.cli.session import USAGE, Session
from city_platform.contracts.model import Classification
from city_platform.deployment import deployment

if TYPE_CHECKING:
    from city_platform.layers.platform import Platform
    from city_platform.layers.rotation import Rotation

app = typer.Typer(help="The keys of the encrypted layer.", no_args_is_help=True)

KeyName = Annotated[str, typer.Argument(help="The key's name, as `keys list` shows it.")]


@app.command("list", epilog="Example: city-platform keys list")
def list_keys(home: Home = None, as_json: Json = False) -> None:
    """List the keys of this machine: names, versions and states, never their bytes."""
    session = Session.start(home, as_json=as_json)
    with session.errors():
        states = session.local_keys().keys()
    session.result({"keys": [{"name": one.name, "version": one.version, "enabled": one.enabled} for one in states]})
    if not as_json:
        for one in states:
            session.out.print(f"{one.name}  version {one.version}  {'enabled' if one.enabled else '[red]disabled[/]'}")
        if not states:
            session.out.print("No keys yet: the first encrypted layer makes them.")


@app.command(
    epilog="Examples: city-platform keys rotate parking_tickets\n\n"
    "city-platform keys rotate parking_tickets --classification personal"
)
def rotate(
    dataset: DatasetName,
    classification: Annotated[
        Classification | None, typer.Option(help="Whose columns' key: internal or personal. Default: both.")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Give a dataset's keys a new version, and wrap everything that is encrypted under it.

    A rotation that did not come to its end is finished instead. Keys in AWS KMS get no version from here: point the
    alias at the new key and its alias with `/previous` behind it at the old one, and what is encrypted is wrapped
    under the new key.
    """
    from city_platform.layers.rotation import rotate as rotated

    session = Session.start(home, as_json=as_json)
    if classification is Classification.PUBLIC:
        session.fail(USAGE, "public columns are under no key")
    chosen = [classification] if classification else [Classification.INTERNAL, Classification.PERSONAL]
    with session.errors():
        session.dataset(dataset)
        versions = session.local_keys() if deployment(os.environ) == "local" else None
        platform = session.platform()
        done = rotated(platform, dataset, chosen, account=session.account(), versions=versions)
        if done.partitions:
            _show_in_graph(session, platform, done)
    session.result(done.to_json())
    if not as_json:
        said = "No new version: an earlier rotation was finished." if done.resumed else ""
        session.out.print(f"{len(done.partitions):,} partitions wrapped anew. {said}".rstrip(), highlight=False)
        for key, current in done.keys.items():
            session.out.print(f"{key}: {current}", highlight=False, soft_wrap=True)
        if done.older:
            session.out.print(
                f"{done.older:,} versions are still under older keys: `lake prune` removes them from tomorrow on, then "
                f"`keys retire {dataset}`.",
                highlight=False,
                soft_wrap=True,
            )


def _show_in_graph(session: Session, platform: "Platform", done: "Rotation") -> None:
    """Has the orchestrator, where there is one, show what the partitions are under now: no run of its own made them."""
    from city_platform.layers import encrypted
    from city_platform.orchestration import NoOrchestrator, orchestrator

    with suppress(NoOrchestrator):
        shown = orchestrator()
        for partition in done.partitions:
            newest = platform.lake.require(encrypted.LAYER, done.dataset, partition)
            shown.observe(session.home, done.dataset, encrypted.LAYER, partition, encrypted.key_ids(newest))


@app.command(epilog="Example: city-platform keys retire parking_tickets")
def retire(dataset: DatasetName, home: Home = None, as_json: Json = False) -> None:
    """Destroy the older versions of a dataset's keys, once nothing is under them any more."""
    from city_platform.layers.rotation import retire as retired

    session = Session.start(home, as_json=as_json)
    with session.errors():
        session.dataset(dataset)
        keys = session.local_keys()
        done = retired(session.platform(), dataset, account=session.account(), versions=keys)
    session.result({"retired": done})
    if not as_json:
        for key, count in done.items():
            session.out.print(f"{key}: {count} older versions destroyed", highlight=False, soft_wrap=True)


@app.command(epilog="Example: city-platform keys disable alias/city-platform/parking_tickets/personal")
def disable(key: KeyName, home: Home = None, as_json: Json = False) -> None:
    """Stop all use of a key, until it is enabled again."""
    _switch(Session.start(home, as_json=as_json), key, enabled=False)


@app.command(epilog="Example: city-platform keys enable alias/city-platform/parking_tickets/personal")
def enable(key: KeyName, home: Home = None, as_json: Json = False) -> None:
    """Allow the use of a disabled key again."""
    _switch(Session.start(home, as_json=as_json), key, enabled=True)


def _switch(session: Session, key: str, *, enabled: bool) -> None:
    with session.errors():
        keys, account = session.local_keys(), session.account()
        log, action = session.platform().audit, "enable key" if enabled else "disable key"

        def record() -> None:
            log.append(actor=account, account=account, action=action, facts={"key": key})

        if enabled:
            keys.current(key)  # a name of no key is no decision
            record()
            keys.enable(key)
        else:  # whoever must stop its use is not kept from it by a log that does not verify
            keys.disable(key)
            record()
        state = next(one for one in keys.keys() if one.name == key)  # noqa: SIM118 -- not a mapping
    session.result({"key": state.name, "version": state.version, "enabled": state.enabled})
    if not session.as_json:
        session.out.print(f"{key}: version {state.version}, {'enabled' if state.enabled else 'disabled'}")
