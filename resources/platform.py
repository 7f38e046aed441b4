"""The platform's adapters as one Dagster resource."""

from pathlib import Path

import dagster as dg

from city_platform.layers.platform import Platform
from city_platform.local.platform import local_platform


class PlatformResource(dg.ConfigurableResource[Platform]):
    """Lake, engine, keys, clock and notifier of this deployment.

    `home` is the folder of the embedded default; relative paths count from the directory the process starts in.
    """

    home: str

    def open(self) -> Platform:
        """The adapters; cheap, and safe to call in every step."""
        return local_platform(Path(self.home))
