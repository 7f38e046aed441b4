"""The platform's adapters as one Dagster resource."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import dagster as dg

from city_platform.deployment import open_platform
from city_platform.deployment.events import open_event_bus
from city_platform.deployment.metrics import open_metrics
from city_platform.deployment.replica import Replica, open_replica, open_replicator
from city_platform.lake.lake import MANIFESTS, Lake
from city_platform.lake.snapshot import KnownBytes, Snapshot
from city_platform.layers.platform import Platform
from city_platform.local.clock import SystemClock
from city_platform.local.replicator import LocalReplicator
from city_platform.ports import EventBus, Metrics

_KNOWN = KnownBytes()  # of all sensors of this process
_NEWEST = 200  # partitions


class PlatformResource(dg.ConfigurableResource[Platform]):
    """Lake, engine, keys, clock and notifier of this deployment.

    The environment chooses the set (`city_platform.deployment`). `home` is the folder of this machine that it works
    in; relative paths count from the directory the process starts in.
    """

    home: str

    def open(self) -> Platform:
        """The adapters; cheap, and safe to call in every step."""
        return open_platform(Path(self.home))

    def survey(self, datasets: Iterable[str] = (), layers: Iterable[str] = ()) -> Platform:
        """The same over the lake as it stands now, for a sensor that looks at nearly everything in every tick.

        Manifests of the datasets' layers are asked for at once, and those of the newest partitions read.
        """
        platform, wanted = self.open(), list(layers)
        store = Snapshot(platform.lake.store, _KNOWN)
        store.fetch([f"{MANIFESTS}/{layer}/{name}/" for name in datasets for layer in wanted], _NEWEST)
        return replace(platform, lake=Lake(store, platform.clock))

    def events(self) -> EventBus:
        """Who carries events to whoever subscribed."""
        return open_event_bus(Path(self.home), SystemClock())

    def metrics(self) -> Metrics:
        """Where the figures of runs and data go."""
        return open_metrics(Path(self.home))

    def replica(self) -> Replica:
        """The lake and its copy. Raises NoReplica."""
        return open_replica(Path(self.home), self.open().clock)

    def replicator(self) -> LocalReplicator:
        """Who copies the lake of this machine. Raises NoReplica."""
        return open_replicator(Path(self.home), self.open().clock)
