"""`city-platform lake replica`: a copy of the whole lake in another place."""

from typing import TYPE_CHECKING, Annotated

import typer

from city_platform.cli.options import Home, Json
from city_platform.cli.session import FAILED, OK, REFUSED, USAGE, Session, size

if TYPE_CHECKING:
    from city_platform.lake.replica import Verification
    from city_platform.lake.replication import Replicated
    from city_platform.local.replicator import LocalReplicator

app = typer.Typer(help="A copy of the lake in another place: keep, verify, bring back.", no_args_is_help=True)

_SHOWN = 20
_RETRY = 5.0  # seconds


@app.command(
    epilog="Examples: CITY_PLATFORM_REPLICA=/mnt/copy city-platform lake replica sync\n\n"
    "city-platform lake replica sync --watch --every 30"
)
def sync(
    watch: Annotated[bool, typer.Option("--watch", help="Go on until told to end.")] = False,
    every: Annotated[float, typer.Option(min=1, max=3600, help="Seconds from one look to the next.")] = 60.0,
    remove_extra: Annotated[
        bool,
        typer.Option("--remove-extra", help="Delete from the copy what went from the lake while no copy was kept."),
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Bring the copy up to date: what is new or changed in the lake, and what was deleted there.

    The folder is named in CITY_PLATFORM_REPLICA. Killed at any moment, the next call does the rest; on AWS S3 does
    this. Exit code 1 where files of the lake are damaged: these are not copied.
    """
    from city_platform.deployment.replica import open_replica, open_replicator
    from city_platform.lake.replica import Kind

    session = Session.start(home, as_json=as_json)
    if watch and remove_extra:
        session.fail(USAGE, "--remove-extra is for once: what it removes should be looked at first, with `verify`")
    with session.errors():
        clock = session.platform().clock
        replicator = open_replicator(session.home, clock)
        if watch:
            _watch(session, replicator, every)
            raise SystemExit(OK)
        done, removed = replicator.replicate(), 0
        if remove_extra:
            compared = open_replica(session.home, clock).compare()
            if not compared.objects:
                session.fail(REFUSED, "the lake is empty: `city-platform lake replica restore` brings it back")
            removed = replicator.remove_extra([one.key for one in compared.differences if one.kind is Kind.EXTRA])
    session.result(
        {
            "copied": done.copied,
            "bytes": done.bytes,
            "deleted": done.deleted,
            "removed_extra": removed,
            "held": done.held,
            "damaged": done.damaged,
        }
    )
    if not as_json:
        session.out.print(_line(done) + (f" {removed:,} beyond that removed." if removed else ""), highlight=False)
        for key in done.damaged:
            session.err.print(f"damaged, not copied: {key}", style="red", markup=False, highlight=False)
    raise SystemExit(FAILED if done.damaged else OK)


@app.command(epilog="Example: city-platform lake replica verify --json")
def verify(home: Home = None, as_json: Json = False) -> None:
    """Compare the lake with its copy: listings of both, and the bytes of a few files, of other ones each time.

    Exit code 1 where something is missing, different or too much for longer than a quarter of an hour, or a file's
    bytes are not what they should be.
    """
    from city_platform.deployment.replica import open_replica
    from city_platform.lake.replica import Verdict

    session = Session.start(home, as_json=as_json)
    with session.errors():
        clock = session.platform().clock
        found = open_replica(session.home, clock).verify(clock)
    session.result(found.to_json())
    if not as_json:
        _show(session, found)
    raise SystemExit(FAILED if found.verdict is Verdict.BROKEN else OK)


@app.command(epilog="Example: city-platform lake replica restore && city-platform lake replica verify")
def restore(home: Home = None, as_json: Json = False) -> None:
    """Bring back from the copy what is missing in the lake. What is there stays as it is.

    What was deleted on purpose stays deleted, as long as the lake remembers it. Keys are not in the copy: without
    keys/keys.json the encrypted layer cannot be read.
    """
    from city_platform.deployment.replica import open_replicator
    from city_platform.layers.old_versions import ACTOR

    session = Session.start(home, as_json=as_json)
    with session.errors():
        platform = session.platform()
        done = open_replicator(session.home, platform.clock).restore()
        if done.copied:
            facts = {"objects": done.copied, "bytes": done.bytes}
            platform.audit.append(actor=ACTOR, account=session.account(), action="restore from the copy", facts=facts)
    session.result({"restored": done.copied, "bytes": done.bytes, "held": done.held, "damaged": done.damaged})
    if not as_json:
        session.out.print(f"{done.copied:,} objects brought back, {size(done.bytes)}.", highlight=False)
        for key, why in [*done.held.items(), *((key, "its bytes are not what they should be") for key in done.damaged)]:
            session.err.print(f"not brought back: {key}: {why}", style="red", markup=False, highlight=False)
    raise SystemExit(FAILED if done.damaged or done.held else OK)


def _watch(session: Session, replicator: "LocalReplicator", every: float) -> None:
    from city_platform.errors import TransientError
    from city_platform.local.ending import asked_to_stop

    stop = asked_to_stop()
    while not stop.is_set():
        try:
            done = replicator.replicate()
            if done.copied or done.deleted:
                session.err.print(_line(done), markup=False, highlight=False)
            for key in done.damaged:
                session.err.print(f"damaged, not copied: {key}", style="red", markup=False, highlight=False)
            stop.wait(every)
        except TransientError as error:
            session.tries_again(error)
            stop.wait(_RETRY)


def _line(done: "Replicated") -> str:
    held = f"; {len(done.held):,} wait for the next look" if done.held else ""
    return f"{done.copied:,} objects copied, {size(done.bytes)}; {done.deleted:,} deleted{held}."


def _show(session: Session, found: "Verification") -> None:
    told = ", ".join(f"{count:,} {kind}" for kind, count in found.counts.items())
    session.out.print(
        f"{found.verdict}: of {found.compared.objects:,} objects {told}; {found.sampled.files} files read, "
        f"{len(found.sampled.damaged)} damaged.",
        highlight=False,
    )
    for zone, one in found.lags.items():
        if one.objects:
            behind = f"{zone}: {one.objects:,} objects, {size(one.bytes)}, {one.age.total_seconds():,.0f} s behind"
            session.out.print(behind, highlight=False)
    worst = [*((one.key, str(one.kind)) for one in found.overdue), *((key, "damaged") for key in found.sampled.damaged)]
    for key, why in worst[:_SHOWN]:
        session.err.print(f"{why}: {key}", style="red", markup=False, highlight=False)
