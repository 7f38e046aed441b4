"""The platform's adapters as one Dagster resource."""

from pathlib import Path

import dagster as dg

from city_platform.deployment import open_platform
from city_platform.deployment.metrics import open_metrics
from city_platform.deployment.replica import Replica, open_replica, open_replicator
from city_platform.layers.platform import Platform
from city_platform.local.replicator import LocalReplicator
from city_platform.ports import Metrics


class PlatformResource(dg.ConfigurableResource[Platform]):
    """Lake, engine, keys, clock and notifier of this deployment.

    The environment chooses the set (`city_platform.deployment`). `home` is the folder of this machine that it works
    in; relative paths count from the directory the process starts in.
    """

    home: str

    def open(self) -> Platform:
        """The adapters; cheap, and safe to call in every step."""
        return open_platform(Path(self.home))

    def metrics(self) -> Metrics:
        """Where the figures of runs and data go."""
        return open_metrics(Path(self.home))

    def replica(self) -> Replica:
        """The lake and its copy. Raises NoReplica."""
        return open_replica(Path(self.home), self.open().clock)

    def replicator(self) -> LocalReplicator:
        """Who copies the lake of this machine. Raises NoReplica."""
        return open_replicator(Path(self.home), self.open().clock)
