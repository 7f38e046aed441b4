"""`city-platform lake`: earlier versions of what the layers hold, and room for new ones."""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from city_platform.cli.options import Actor, DatasetName, Home, Json, Partition, Reason
from city_platform.cli.quality import at_the_desk
from city_platform.cli.replica import app as replica_app
from city_platform.cli.session import USAGE, Session, local, size

if TYPE_CHECKING:
    from city_platform.lake.lake import Published
    from city_platform.layers.old_versions import PrunedDataset

app = typer.Typer(help="Versions of what is in the lake: list, restore, prune; and its copy.", no_args_is_help=True)
app.add_typer(replica_app, name="replica")

_AGE = re.compile(r"([1-9][0-9]{0,3})(d|w)")


@app.command(epilog="Example: city-platform lake versions parking_tickets 2024")
def versions(
    dataset: DatasetName,
    partition: Annotated[str | None, typer.Argument(help="A year, day or hour. Default: all.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """List every version of every layer, the newest last, and whether its files are still there."""
    from city_platform.cli.table import ShownTable
    from city_platform.layers.old_versions import versions as listed

    session = Session.start(home, as_json=as_json)
    with session.errors():
        zone = session.dataset(dataset).contract.timezone
        found = listed(session.platform(), dataset, partition)
    newest = {(one.manifest.partition, one.manifest.layer): one.manifest.sequence for one in found}
    rows = [_told(one, newest) for one in found]
    session.result({"dataset": dataset, "versions": rows})
    if not as_json:
        table = ShownTable(title=dataset)
        for name in ("partition", "layer", "no.", "version", "published", "size", ""):
            table.add_column(name, justify="right" if name in {"no.", "size"} else "left")
        for one in found:
            made = one.manifest
            state = f"pruned {local(one.pruned_at, zone)}" if one.pruned_at else ""
            state = "newest" if newest[made.partition, made.layer] == made.sequence else state
            at = local(made.published_at, zone)
            table.add_row(made.partition, made.layer, str(made.sequence), made.version, at, size(made.size), state)
        session.out.print(table)


@app.command(
    epilog="Example: city-platform lake restore parking_tickets 2024 4f1c09a2b7d3e856 --actor open-data-steward "
    "--reason 'The newest list was cut off by the source'"
)
def restore(
    dataset: DatasetName,
    partition: Partition,
    version: Annotated[str, typer.Argument(help="Sixteen digits, as `lake versions` shows them.")],
    actor: Actor,
    reason: Reason,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make an earlier version of a layer the newest again. Takes the role data steward.

    A layer that is restored while what it is made from stays as it is gets made again by the next run: reject the data
    first (`quality reject`), or land the source's earlier file.
    """
    from city_platform.layers.old_versions import restore as restored

    session = Session.start(home, as_json=as_json)
    with session.errors():
        _, platform, desk = at_the_desk(session, dataset, actor)
        manifest = restored(platform, desk, partition, version, reason)
    session.result({"layer": manifest.layer, "version": manifest.version, "sequence": manifest.sequence})
    if not as_json:
        session.out.print(
            f"{dataset} {partition}: {manifest.layer} is version {version} again (no. {manifest.sequence})."
        )


@app.command(
    epilog="Examples: city-platform lake prune --dry-run\n\n"
    "city-platform lake prune --dataset traffic_readings --keep 1 --older-than 1d"
)
def prune(
    dataset: Annotated[str | None, typer.Option("--dataset", "-d", help="Only this one. Default: all.")] = None,
    keep: Annotated[
        int | None,
        typer.Option(min=1, help="Versions to keep of each partition. Default: what the contract says, or 3."),
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option(
            help="Only versions that were replaced so long ago: 1d, 30d, 8w. Default: the contract's, or 30d."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and leave everything.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Remove the files of versions that nothing needs, and those that killed runs left behind.

    Kept are: the newest versions, what they were made from, what decisions in force and the catalog refer to, and the
    sources' own bytes. History still says that a version existed. Single readings of traffic go altogether when the
    contract's `keepRowsDays` are over and their hourly sums are proven.
    """
    from dataclasses import asdict

    from city_platform.layers.old_versions import prune as pruned
    from city_platform.layers.row_retention import let_go

    session = Session.start(home, as_json=as_json)
    age = _AGE.fullmatch(older_than) if older_than is not None else None
    if older_than is not None and age is None:
        session.fail(USAGE, f"{older_than!r} is no age of a version: write days or weeks, as 1d, 30d or 8w")
    days = timedelta(days=int(age[1]) * (7 if age[2] == "w" else 1)) if age else None
    done: list[PrunedDataset] = []
    with session.errors():
        known = session.datasets()
        if dataset is not None:
            session.dataset(dataset)
        for one in pruned(
            session.platform(),
            list(known.values()),
            only=dataset,
            keep=keep,
            older_than=days,
            account=session.account(),
            dry_run=dry_run,
        ):
            done.append(one)
            if one.files and not as_json:
                session.out.print(_line(one), highlight=False)
        chosen = [one for name, one in known.items() if dataset in {None, name}]
        retired = list(let_go(session.platform(), chosen, account=session.account(), dry_run=dry_run))
    total = sum(one.bytes for one in done) + sum(one.bytes for one in retired)
    session.result(
        {
            "dry_run": dry_run,
            "bytes": total,
            "datasets": [one.to_json() for one in done if one.files],
            "rows": [asdict(one) for one in retired],
        }
    )
    if not as_json:
        for row in retired:
            said = f"kept: {row.kept_because}" if row.kept_because else f"its rows, {row.files:,} files"
            session.out.print(f"{row.dataset} {row.partition}: {said}", highlight=False)
        verb = "would be freed" if dry_run else "freed"
        files = sum(one.files for one in done) + sum(one.files for one in retired)
        session.out.print(f"{files:,} files, {size(total)} {verb}.", highlight=False)


def _told(one: "Published", newest: Mapping[tuple[str, str], int]) -> Mapping[str, Any]:
    made = one.manifest
    return {
        "partition": made.partition,
        "layer": made.layer,
        "sequence": made.sequence,
        "version": made.version,
        "published_at": made.published_at.isoformat(),
        "bytes": made.size,
        "rows": made.counts.get("rows"),
        "newest": newest[made.partition, made.layer] == made.sequence,
        "pruned_at": one.pruned_at.isoformat() if one.pruned_at else None,
    }


def _line(one: "PrunedDataset") -> str:
    layers: Sequence[str] = [f"{layer} {count:,}" for layer, count in one.versions.items()]
    left = f"; {one.left_behind:,} files of runs that died" if one.left_behind else ""
    return f"{one.dataset}: {one.files:,} files, {size(one.bytes)}; versions: {', '.join(layers) or 'none'}{left}"
