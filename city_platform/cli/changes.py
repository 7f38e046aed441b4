"""`city-platform changes`: what the newest version of a partition changed."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from city_platform.cli.options import Home, Json
from city_platform.cli.session import Session, local

if TYPE_CHECKING:
    from city_platform.datasets import Dataset
    from city_platform.layers.changes import ChangedRow, Changes
    from city_platform.layers.platform import Platform

app = typer.Typer()


@dataclass(frozen=True, slots=True)
class _Year:
    """One partition's newest version and how it differs; `changes` is None of a first version."""

    partition: str
    version: str
    published: datetime
    changes: "Changes | None"
    rows: "Sequence[ChangedRow]"

    def to_json(self) -> Mapping[str, Any]:
        return {
            "partition": self.partition,
            "version": self.version,
            "published": self.published.isoformat(),
            "changes": self.changes.to_json() if self.changes else None,
            "rows": [asdict(row) for row in self.rows],
        }


@app.command(
    epilog="Examples: city-platform changes animal_register\n\ncity-platform changes animal_register 2022 --rows 50"
)
def changes(
    dataset: Annotated[str, typer.Argument(help="The dataset's name, as `datasets list` shows it.")],
    partition: Annotated[str | None, typer.Argument(help="A year, day or hour. Default: all.")] = None,
    rows: Annotated[int, typer.Option(min=0, max=10_000, help="Changed rows to show of each partition.")] = 0,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show what changed in the cleaned rows since the version before: inserted, updated and deleted rows.

    Rows are compared by the contract's key, without one as they are. Personal values are never shown.
    """
    from city_platform.cli.table import ShownTable

    session = Session.start(home, as_json=as_json)
    with session.errors():
        chosen, platform = session.dataset(dataset), session.platform()
        years = [partition] if partition else platform.lake.partitions("cleaned", dataset)
        found = [_year(platform, chosen, year, rows) for year in years]
    session.result({"dataset": dataset, "partitions": [year.to_json() for year in found]})
    if as_json:
        return
    shown = ShownTable(title=chosen.name)
    unit = chosen.contract.partitioning.granularity
    for name in (unit, "published", "since version", "inserted", "updated", "deleted", "updated columns"):
        shown.add_column(name, justify="right" if name in {"inserted", "updated", "deleted"} else "left")
    for year in found:
        cells = ["first version", "-", "-", "-", "-"]
        if one := year.changes:
            columns = ", ".join(f"{name} {count:,}" for name, count in one.columns.items())
            cells = [one.since, f"{one.inserted:,}", f"{one.updated:,}", f"{one.deleted:,}", columns or "-"]
        shown.add_row(year.partition, local(year.published, chosen.contract.timezone), *cells)
    session.out.print(shown)
    for year in found:
        for row in year.rows:
            session.out.print(f"{year.partition} {_line(row)}", markup=False, highlight=False)


def _year(platform: "Platform", dataset: "Dataset", partition: str, limit: int) -> _Year:
    from city_platform.layers.changes import Changes, changed_rows
    from city_platform.layers.cleaned import LAYER

    newest = platform.lake.require(LAYER, dataset.name, partition)
    told = newest.details.get("changes")
    rows: Sequence[ChangedRow] = ()
    if told and limit:
        with platform.engine.session() as engine:
            rows = changed_rows(engine, platform.lake, dataset, partition, LAYER, limit)
    return _Year(partition, newest.version, newest.published_at, Changes.from_json(told) if told else None, rows)


def _line(row: "ChangedRow") -> str:
    """One changed row on one line: its key, then the columns, before -> after."""
    key = " ".join(f"{name}={value}" for name, value in row.key.items())
    place = {"inserted": 1, "deleted": 0}.get(row.kind)
    values = [
        f"{name}: {before!r} -> {after!r}" if place is None else f"{name}: {(before, after)[place]!r}"
        for name, (before, after) in row.values.items()
        if place is None or (before, after)[place] is not None
    ]
    return f"{row.kind} {key}  {', '.join(values)}"
