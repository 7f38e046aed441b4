"""Fetching: what changed on the portal lands as if somebody had brought the file.

Beside the landed source the lake keeps what the portal said of the dataset at that time, one small manifest for each
of a dataset's sources. As long as the portal says the same and those bytes still count, nothing is fetched.
"""

from collections.abc import Callable
from dataclasses import dataclass

from city_platform.contracts.model import PortalSource
from city_platform.datasets import Dataset
from city_platform.lake.sink import workspace
from city_platform.layers.landing import Landing, Origin, land, sources
from city_platform.layers.platform import Platform
from city_platform.portal.client import PortalClient
from city_platform.portal.export import Progress, download
from city_platform.portal.state import PortalState

LAYER = "fetched"


@dataclass(frozen=True, slots=True)
class Observation:
    """What the portal says of a source now, and whether that is what the lake has."""

    dataset: str
    source: PortalSource
    state: PortalState
    landed: bool


@dataclass(frozen=True, slots=True)
class Fetch:
    """What fetching one source did; `landing` is None where there was nothing to fetch."""

    observation: Observation
    landing: Landing | None
    size: int = 0  # bytes that came

    @property
    def changed(self) -> bool:
        """Whether rows came that the lake did not have."""
        return self.landing is not None and not self.landing.known


def observe(platform: Platform, dataset: Dataset, source: PortalSource, client: PortalClient) -> Observation:
    """Asks the portal about the source; one small request. Raises the client's errors."""
    state = client.state(source)
    return Observation(dataset.name, source, state, _landed(platform, dataset, source, state))


def fetch(
    platform: Platform,
    dataset: Dataset,
    source: PortalSource,
    client: PortalClient,
    *,
    progress: Progress | None = None,
    reading: Callable[[int], None] | None = None,
) -> Fetch:
    """Downloads the source and lands it, unless the lake has what the portal has.

    `progress` is told records that came and records in all, `reading` the rows that landing has read. Raises the
    client's errors and landing's; the lake stays as it was then.
    """
    seen = observe(platform, dataset, source, client)
    if seen.landed:
        return Fetch(seen, None)
    with workspace(platform.lake) as folder:
        # The file's name is the source's in the lake: the next export takes the place of this one.
        export = download(client, source, folder / f"{source.portal_id}.csv", progress)
        landing = land(platform, dataset, export.file, reading, Origin(export.url, export.fetched_at))
        platform.lake.publish(
            LAYER,
            dataset.name,
            source.portal_id,
            inputs={"version": export.state.version, "sha256": landing.source.sha256},
            parts={},
            counts={"rows": export.records},
            schema=[],
            details={"url": export.url, "server": source.server},
        )
    return Fetch(Observation(dataset.name, source, export.state, landed=True), landing, export.size)


def _landed(platform: Platform, dataset: Dataset, source: PortalSource, state: PortalState) -> bool:
    """Whether what the portal has is what it had when it was fetched last, and those bytes still count."""
    last = platform.lake.latest(LAYER, dataset.name, source.portal_id)
    if last is None or not state.version or last.inputs["version"] != state.version:
        return False
    return any(one.sha256 == last.inputs["sha256"] for one in sources(platform.lake, dataset.name))
