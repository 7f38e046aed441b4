"""The parts that remove a person, as the deployment has them."""

import os
from collections.abc import Mapping
from pathlib import Path

from city_platform.datasets import Dataset
from city_platform.deployment.incidents import open_incident_path, open_incident_repository, open_incident_service
from city_platform.incidents.erasure import Eraser
from city_platform.layers import open_incidents
from city_platform.layers.erasure import LakeEraser, Remake
from city_platform.layers.platform import Platform


def open_erasers(
    home: Path, platform: Platform, dataset: Dataset, remake: Remake, environ: Mapping[str, str] = os.environ
) -> tuple[Eraser, LakeEraser]:
    """Of the store of incidents, and of what the lake has of its dataset. Raises as `open_incident_path`."""
    path = open_incident_path(home, platform, environ)
    repository = open_incident_repository(home, platform.clock, environ)

    def publish_open_data() -> None:
        if platform.lake.partitions(open_incidents.LAYER, open_incidents.DATASET):
            open_incidents.publish(platform.lake, open_incident_service(platform, repository, environ))

    return (
        Eraser(repository, platform.keys, platform.lake.store, path.dead_letters, path.processor.pseudonym),
        LakeEraser(platform, dataset, path.export, path.processor.pseudonym, publish_open_data, remake),
    )
