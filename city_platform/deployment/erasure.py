"""The parts that remove a person, as the deployment has them."""

import os
from collections.abc import Mapping
from pathlib import Path

from city_platform.datasets import Dataset
from city_platform.deployment import deployment
from city_platform.deployment.incidents import open_incident_path, open_incident_repository, open_incident_service
from city_platform.deployment.replica import is_replicated, open_replica, open_replicator
from city_platform.incidents.erasure import Eraser
from city_platform.lake.lake import Lake
from city_platform.layers import open_incidents
from city_platform.layers.erasure import LakeEraser, Remake
from city_platform.layers.platform import Platform


def open_erasers(
    home: Path, platform: Platform, dataset: Dataset, remake: Remake, environ: Mapping[str, str] = os.environ
) -> tuple[Eraser, LakeEraser]:
    """Of the store of incidents, and of what the lake and its copy have of its dataset.

    Raises as `open_incident_path` and `open_replica`.
    """
    path = open_incident_path(home, platform, environ)
    repository = open_incident_repository(home, platform.clock, environ)

    def publish_open_data() -> None:
        if platform.lake.partitions(open_incidents.LAYER, open_incidents.DATASET):
            open_incidents.publish(platform.lake, open_incident_service(platform, repository, environ))

    copied, clock = is_replicated(environ), platform.clock
    copy = Lake(open_replica(home, clock, environ).copy, clock) if copied else None
    ours = copied and deployment(environ) == "local"
    replicate = open_replicator(home, clock, environ).replicate if ours else lambda: None
    return (
        Eraser(repository, platform.keys, platform.lake.store, path.dead_letters, path.processor.pseudonym),
        LakeEraser(
            platform, dataset, path.export, path.processor.pseudonym, publish_open_data, remake, copy, replicate
        ),
    )
