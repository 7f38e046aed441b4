"""`city-platform erase`: remove a person from incidents and the lake at the person's request, and show that it was."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

import typer

from city_platform.cli.options import Actor, Home, Json
from city_platform.cli.quality import at_the_desk
from city_platform.cli.session import FAILED, OK, USAGE, Session

if TYPE_CHECKING:
    from city_platform.layers.erasure import Remake

app = typer.Typer()

DATASET = "incidents"
# What no run of this command can reach, and how long it is there.
BEYOND = {
    "local": (
        "backups of this machine, for as long as they are kept",
        "a copy of the lake that CITY_PLATFORM_REPLICA did not name for this call, until it is brought up to date",
    ),
    "aws": (
        "the table's change stream, 24 hours",
        "the tables' point-in-time recovery, 35 days",
        "noncurrent versions of objects in the buckets and their replicas, as long as the lifecycle rules keep them",
        "messages that somebody has in hand: run again when they are back",
    ),
}
KEPT = (
    "the incidents themselves: title, place, category and what became of them, which name nobody",
    "who of the staff dealt with them",
    "fingerprints of requests that were sent twice, for a day",
)


@app.command(
    epilog="Examples: city-platform erase --email jo@city.example --actor service-desk-steward "
    "--reason 'Request 17'\n\n"
    "city-platform erase --subject 3f1c… --actor service-desk-steward --reason 'Request 17' --confirm 9f86d081884c"
)
def erase(
    actor: Actor,
    reason: Annotated[str, typer.Option(help="Why, for the audit log: the request's number, not the person's name.")],
    subject: Annotated[list[str] | None, typer.Option(help="The subject of the person's tokens; repeatable.")] = None,
    email: Annotated[str | None, typer.Option(help="The address the person left with their reports.")] = None,
    confirm: Annotated[
        str | None, typer.Option(help="Do it: the reference that the same request printed without this option.")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Remove whoever reported incidents: contact, name, words and pictures, in the store and in all of the lake.

    Without `--confirm` it looks and removes nothing. It ends with a second look through everything, and says what is
    left and why; run again, it goes on with that. Exit code 1 where something is left: on AWS that is at first what the
    copy in the other region still has, because S3 takes some minutes to delete there, too.
    """
    import os

    from city_platform.deployment import deployment
    from city_platform.deployment.erasure import open_erasers
    from city_platform.governance.decisions import Action, checked_reason
    from city_platform.incidents.erasure import Person, pattern_of

    session = Session.start(home, as_json=as_json)
    with session.errors():
        person = Person(frozenset(subject or ()), email)
        dry_run = confirm is None
        dataset, platform, desk = at_the_desk(session, DATASET, actor)
        desk.require_role(Action.ERASE, "all")
        reason = checked_reason(reason)
        if pattern_of({*person.subjects, *filter(None, [email])}).search(reason):
            session.fail(USAGE, "the reason names the person, and is kept for ever: say the number of the request")
        store, lake = open_erasers(session.home, platform, dataset, _remake(session))
        reference = person.reference(lake.pseudonym)
        if confirm not in {None, reference}:
            session.fail(USAGE, f"this request is {reference}, not {confirm}: give it without --confirm first")
        facts = {"dataset": DATASET, "reference": reference, "reason": reason}

        def record(action: str, **more: object) -> None:
            platform.audit.append(actor=desk.actor, account=desk.account, action=action, facts=facts | more)

        # Looking opens every contact: that is on record before it happens.
        record("erasure looked at" if dry_run else "erasure begun")
        beyond = BEYOND[deployment(os.environ)]
        with _nothing_on_its_way(session, dry_run=dry_run or deployment(os.environ) != "local") as deliver:
            found = store.find(person)
            removed = store.erase(found, platform.clock.now(), dry_run=dry_run)
            deliver()
            erased = lake.erase(found.names(), found.person.subjects, uuid4().hex, dry_run=dry_run)
            if not (dry_run or erased.remaining):
                store.finish(found)
                lake.replicate()  # the note of whom it was about is gone, too
        told = asdict(erased)
        counts = {name: len(value) if isinstance(value, list | dict) else value for name, value in told.items()}
        if not dry_run:
            record("erasure done", store=removed.to_json(), lake=counts)
    session.result(
        {
            "reference": reference,
            "dry_run": dry_run,
            "incidents": list(found.incidents),
            "store": removed.to_json(),
            "lake": told,
            "kept": KEPT,
            "beyond_reach": beyond,
        }
    )
    if not as_json:
        _show(session, {**removed.to_json(), **{f"in the lake: {name}": count for name, count in counts.items()}})
        _show(session, erased.remaining)
        _show(session, {"kept": "; ".join(KEPT), "out of reach": "; ".join(beyond)})
        if dry_run:
            session.out.print(f"Nothing was changed. To do it, give the same request --confirm {reference}")
    raise SystemExit(OK if dry_run or not erased.remaining else FAILED)


def _show(session: Session, lines: Mapping[str, object]) -> None:
    for name, value in lines.items():
        session.out.print(f"{name.replace('_', ' ')}: {value}", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _nothing_on_its_way(session: Session, *, dry_run: bool) -> Iterator[Callable[[], None]]:
    """On this machine: changes are taken to the lake before, when asked, and the databases written anew at the end.

    The log of changes names reporters until its changes are in the lake, and nobody else may be running to take them
    there. A database leaves what it deleted in its file until it is written anew.
    """
    from city_platform.cli.incidents import READER, local_path
    from city_platform.deployment.incidents import compact_local
    from city_platform.incidents.export import export_once

    def deliver() -> None:
        if dry_run:
            return
        path, mapping, _ = local_path(session)
        while mapping.deliver():
            pass
        while export_once(path.export, uuid4().hex)["published"]:
            pass
        mapping.stream.trim([READER])

    deliver()
    yield deliver
    if not dry_run:
        compact_local(session.home)


def _remake(session: Session) -> "Remake":
    from city_platform.orchestration import orchestrator

    def remake(partition: str, layers: Sequence[str]) -> None:
        run = orchestrator().materialize(session.home, DATASET, partition, layers, lambda _layer: None)
        if run.failure is not None:
            session.err.print(f"{DATASET} {partition}: {run.failure}", style="yellow", markup=False, highlight=False)

    return remake
