"""Watches the drop folder."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import dagster as dg

from assets.landing import landing_requests
from city_platform.datasets import Dataset
from resources.platform import PlatformResource

INTERVAL_SECONDS = 30


def drop_folder_sensor(folder: Path, datasets: Sequence[Dataset], job: dg.JobDefinition) -> dg.SensorDefinition:
    """Requests a landing for every file that has stopped growing."""

    @dg.sensor(
        name="drop_folder",
        job=job,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Lands files put into drop/<dataset>/ once they have stopped growing.",
    )
    def drop_folder(platform: PlatformResource) -> Iterator[dg.RunRequest | dg.SkipReason]:
        adapters = platform.open()
        requests = list(landing_requests(adapters, folder, datasets, adapters.clock.now().timestamp()))
        yield from requests
        if not requests:
            yield dg.SkipReason("no file waits that has stopped growing")

    return drop_folder
