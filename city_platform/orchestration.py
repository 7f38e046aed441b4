"""What the command line asks of the orchestrator, as a protocol: the platform itself never imports one.

The application offers its implementation under the entry point group `city_platform.orchestrator`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol, cast

from city_platform.catalog.handbook.flows import DataFlow
from city_platform.errors import PermanentError


class NoOrchestrator(PermanentError):
    """The package is installed without the application around it."""


@dataclass(frozen=True, slots=True)
class PartitionRun:
    """What one run over one partition came to. `failure` is None where every step succeeded."""

    run_id: str
    dataset: str
    partition: str
    seconds: float
    failure: str | None


class Orchestrator(Protocol):
    """Runs partitions and shows them."""

    def materialize(
        self, home: Path, dataset: str, partition: str, layers: Sequence[str], on_layer: Callable[[str], None]
    ) -> PartitionRun:
        """Makes layers of one partition in this process; `on_layer` hears each layer that is done."""
        ...

    def observe(self, home: Path, dataset: str, layer: str, partition: str, facts: Mapping[str, str]) -> None:
        """Shows facts about a partition that did not come from a run, under their names."""
        ...

    def run_that_made(self, home: Path, dataset: str, layer: str, partition: str | None, version: str) -> str | None:
        """The first run that made this version, of those that are remembered; None where nobody knows.

        `partition` is None for what is made of all of them.
        """
        ...

    def data_flow(self, home: Path) -> DataFlow:
        """The assets with what each is made from, and what starts runs; reads nothing below `home`."""
        ...

    def serve(self, home: Path, port: int) -> int:
        """Shows the web interface and runs sensors and schedules until interrupted; returns an exit code."""
        ...


def orchestrator() -> Orchestrator:
    """The application's orchestrator; raises NoOrchestrator where the package stands alone."""
    for entry in entry_points(group="city_platform.orchestrator"):
        try:
            return cast("Orchestrator", entry.load()())
        except ModuleNotFoundError as error:
            raise NoOrchestrator(
                f"this command needs the application ({error.name} is missing): run it in the project's checkout"
            ) from error
    raise NoOrchestrator("this command needs the application: run it in the project's checkout")
