"""Landing files and bringing partitions up to date, with progress where a person watches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from city_platform.cli.session import Session
from city_platform.datasets import Dataset, in_order_of_reference
from city_platform.errors import PermanentError
from city_platform.layers import freshness
from city_platform.layers.landing import Landing, land
from city_platform.layers.platform import Platform
from city_platform.orchestration import PartitionRun, orchestrator


def progress(session: Session) -> Progress:
    """Bars on standard error, so that standard output stays for results. None where nobody watches or nothing moves."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=session.err,
        disable=session.as_json or not session.err.is_terminal or session.err.is_dumb_terminal,
    )


def advancing(bars: Progress, bar: TaskID) -> Callable[[int], None]:
    """What moves a bar to the count it is told."""
    return lambda done: bars.update(bar, completed=done)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A file that cannot land, and why."""

    file: str
    why: str


def land_files(
    session: Session, platform: Platform, dataset: Dataset, files: Sequence[Path]
) -> tuple[list[Landing], list[Refusal]]:
    """Lands the files one after the other. One that is refused does not keep the others out."""
    landings, refusals = [], []
    with progress(session) as bars:
        for file in files:
            bar = bars.add_task(f"landing {file.name}", total=None)
            try:
                landings.append(land(platform, dataset, file, advancing(bars, bar)))
            except PermanentError as error:
                refusals.append(Refusal(file.name, str(error)))
            except OSError as error:
                refusals.append(Refusal(file.name, f"{file.name} cannot be read: {error.strerror}"))
            bars.update(bar, total=bars.tasks[bar].completed)
    return landings, refusals


def bring_up_to_date(session: Session, platform: Platform, datasets: Sequence[Dataset]) -> list[PartitionRun]:
    """Runs every layer that is behind, partition by partition, through the orchestrator.

    A dataset comes after those its rules compare with and a year after the years before it, and each is looked at
    when its turn comes: what was made meanwhile may be what its rules look at.
    """
    ordered = in_order_of_reference(datasets)
    behind = sum(
        len(freshness.outdated(platform, dataset, partition))
        for dataset in ordered
        for partition in freshness.partitions(platform, dataset)
    )
    if not behind:
        return []
    runs = []
    with progress(session) as bars:
        bar = bars.add_task("starting", total=behind)
        conductor = orchestrator()

        def done(_layer: str) -> None:
            bars.advance(bar)

        for dataset in ordered:
            for partition in freshness.partitions(platform, dataset):
                layers = freshness.outdated(platform, dataset, partition)
                if layers:
                    bars.update(bar, description=f"{dataset.name} {partition}")
                    runs.append(conductor.materialize(session.home, dataset.name, partition, layers, done))
    return runs
