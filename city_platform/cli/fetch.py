"""`city-platform fetch`: what changed on the open data portal, through all layers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from city_platform.cli.options import Home, Json
from city_platform.cli.session import FAILED, OK, REFUSED, TRY_AGAIN, USAGE, Session, no_such, size

if TYPE_CHECKING:
    from rich.table import Table

    from city_platform.contracts.model import PortalSource
    from city_platform.datasets import Dataset
    from city_platform.layers.fetching import Fetch, Observation
    from city_platform.layers.platform import Platform
    from city_platform.orchestration import PartitionRun
    from city_platform.portal.client import PortalClient
    from city_platform.portal.settings import PortalSettings

app = typer.Typer()


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of one source. `why` is set where it failed."""

    dataset: "Dataset"
    source: "PortalSource"
    observation: "Observation | None" = None
    fetch: "Fetch | None" = None
    why: str = ""
    transient: bool = False

    @property
    def word(self) -> str:
        if self.why:
            return "unavailable" if self.transient else "refused"
        if self.fetch is None:
            return "unchanged" if self.observation and self.observation.landed else "changed"
        if self.fetch.landing is None:
            return "unchanged"
        return "same bytes" if self.fetch.landing.known else "landed"

    def to_json(self) -> dict[str, object]:
        seen, landing = self.observation, self.fetch.landing if self.fetch else None
        return {
            "dataset": self.dataset.name,
            "source": self.source.server,
            "location": self.source.location,
            "outcome": self.word,
            "portal": {
                "modified": seen.state.modified,
                "data_processed": seen.state.data_processed,
                "records": seen.state.records_count,
            }
            if seen
            else None,
            "sha256": landing.source.sha256 if landing else None,
            "rows": landing.source.rows if landing else None,
            "bytes": self.fetch.size if self.fetch else None,
            "partitions": landing.partitions if landing else [],
            "drift": [drift.message for drift in landing.source.drift] if landing else [],
            "why": self.why or None,
        }


@app.command(
    epilog="Examples: city-platform fetch business_licences\n\n"
    "city-platform fetch --check --json\n\n"
    "city-platform fetch --portal http://127.0.0.1:8001"
)
def fetch(
    datasets: Annotated[list[str] | None, typer.Argument(help="Datasets' names. Default: all with a source.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Only ask the portal what changed; fetch nothing.")] = False,
    portal: Annotated[
        str | None,
        typer.Option(help="Another portal instead of the contracts' hosts. Default: CITY_PLATFORM_PORTAL."),
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Fetch what changed on the portal, and bring the partitions it touches up to date.

    The sources are the contracts' `servers` of type `api`. A source that says it has not changed is not fetched. One
    that fails keeps no other out; exit code 4 says that trying again later may help.
    """
    from city_platform.cli.work import bring_up_to_date
    from city_platform.portal.settings import PortalSettings

    session = Session.start(home, as_json=as_json)
    with session.errors():
        chosen = _chosen(session, datasets or [])
        platform = session.platform()
        outcomes = list(_outcomes(session, platform, chosen, PortalSettings.of(base=portal), check=check))
        touched = [one.dataset for one in outcomes if one.fetch and one.fetch.changed]
        runs = bring_up_to_date(session, platform, list({one.name: one for one in touched}.values()))
    session.result(
        {
            "sources": [one.to_json() for one in outcomes],
            "failures": [
                {"partition": f"{run.dataset}/{run.partition}", "why": run.failure} for run in runs if run.failure
            ],
        }
    )
    if not as_json:
        session.out.print(_table(outcomes))
        _print_problems(session, outcomes, runs)
    raise SystemExit(_exit_code(outcomes, runs))


def _chosen(session: Session, names: Sequence[str]) -> list["Dataset"]:
    known = session.datasets()
    unknown = [name for name in names if name not in known]
    if unknown:
        session.fail(USAGE, "\n".join(no_such("dataset", name, known) for name in unknown))
    silent = [name for name in names if not known[name].sources]
    if silent:
        session.fail(USAGE, f"{', '.join(silent)} has no source: add a server of type 'api' to its contract.yaml")
    return [known[name] for name in names] if names else [one for one in known.values() if one.sources]


def _outcomes(
    session: Session, platform: "Platform", datasets: Sequence["Dataset"], settings: "PortalSettings", *, check: bool
) -> Iterator[_Outcome]:
    """Source by source, so that each is in the lake before the next begins."""
    from city_platform.cli.work import progress
    from city_platform.errors import PermanentError, TransientError
    from city_platform.layers import fetching

    with progress(session) as bars, _client(session, platform, settings) as client:
        for dataset in datasets:
            for source in dataset.sources:
                bar = bars.add_task(f"asking about {source.portal_id}", total=None)

                def came(done: int, total: int) -> None:
                    bars.update(bar, description=f"fetching {source.portal_id}", completed=done, total=total)  # noqa: B023 -- called before the next turn

                def read(done: int) -> None:
                    bars.update(bar, description=f"landing {source.portal_id}", completed=done)  # noqa: B023 -- the same

                try:
                    if check:
                        yield _Outcome(dataset, source, fetching.observe(platform, dataset, source, client))
                    else:
                        done = fetching.fetch(platform, dataset, source, client, progress=came, reading=read)
                        yield _Outcome(dataset, source, done.observation, done)
                except PermanentError as error:
                    yield _Outcome(dataset, source, why=str(error))
                except TransientError as error:
                    yield _Outcome(dataset, source, why=str(error), transient=True)
                bars.update(bar, total=bars.tasks[bar].completed)


@contextmanager
def _client(session: Session, platform: "Platform", settings: "PortalSettings") -> Iterator["PortalClient"]:
    from city_platform.portal.client import PortalClient, silent

    def notice(message: str) -> None:
        session.err.print(message, style="yellow", markup=False, highlight=False)

    with PortalClient(settings, platform.clock, notice=silent if session.as_json else notice) as client:
        yield client


def _table(outcomes: Sequence[_Outcome]) -> "Table":
    from city_platform.cli.table import ShownTable

    shown = ShownTable()
    for name in ("dataset", "source", "changed there", "records", "outcome", "fetched", "partitions"):
        shown.add_column(name, justify="right" if name in {"records", "fetched"} else "left", no_wrap=name == "outcome")
    for one in outcomes:
        seen = one.observation
        shown.add_row(
            one.dataset.name,
            one.source.server,
            _when(seen.state.data_processed or seen.state.modified, one.dataset.contract.timezone) if seen else "-",
            f"{seen.state.records_count:,}" if seen else "-",
            one.word,
            size(one.fetch.size) if one.fetch and one.fetch.landing else "-",
            _partitions(one.fetch.landing.partitions) if one.fetch and one.fetch.landing else "-",
        )
    return shown


def _when(written: str, timezone: str) -> str:
    """The portal's time on the city's clock; as it stands where it is none."""
    from datetime import datetime

    from city_platform.cli.session import local

    try:
        time = datetime.fromisoformat(written)
    except ValueError:
        return written or "-"
    return local(time, timezone) if time.tzinfo else written


def _partitions(years: Sequence[str]) -> str:
    few = 3
    return ", ".join(years) if len(years) <= few else f"{years[0]} to {years[-1]} ({len(years)})"


def _print_problems(session: Session, outcomes: Sequence[_Outcome], runs: Sequence["PartitionRun"]) -> None:
    for run in runs:
        if run.failure:
            session.err.print(f"{run.dataset} {run.partition}: {run.failure}", style="red", markup=False)
    for one in outcomes:
        where = f"{one.dataset.name}, {one.source.server}"
        for drift in one.fetch.landing.source.drift if one.fetch and one.fetch.landing else ():
            session.out.print(f"{where}: {drift.kind}: {drift.message}", style="yellow", markup=False)
        if one.why:
            session.err.print(f"{where}: {one.why}", style="red", markup=False, highlight=False)


def _exit_code(outcomes: Sequence[_Outcome], runs: Sequence["PartitionRun"]) -> int:
    if any(one.why and not one.transient for one in outcomes):
        return REFUSED
    if any(one.transient for one in outcomes):
        return TRY_AGAIN
    return FAILED if any(run.failure for run in runs) else OK
