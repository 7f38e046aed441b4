"""The platform's adapters as one Dagster resource."""

from pathlib import Path

import dagster as dg

from city_platform.deployment import open_platform
from city_platform.deployment.events import open_event_bus
from city_platform.deployment.metrics import open_metrics
from city_platform.layers.platform import Platform
from city_platform.local.clock import SystemClock
from city_platform.ports import EventBus, Metrics


class PlatformResource(dg.ConfigurableResource[Platform]):
    """Lake, engine, keys, clock and notifier of this deployment.

    The environment chooses the set (`city_platform.deployment`). `home` is the folder of this machine that it works
    in; relative paths count from the directory the process starts in.
    """

    home: str

    def open(self) -> Platform:
        """The adapters; cheap, and safe to call in every step."""
        return open_platform(Path(self.home))

    def events(self) -> EventBus:
        """Who carries events to whoever subscribed."""
        return open_event_bus(Path(self.home), SystemClock())

    def metrics(self) -> Metrics:
        """Where the figures of runs and data go."""
        return open_metrics(Path(self.home))
