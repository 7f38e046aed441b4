"""The lake's copy in another place, as the deployment has it: a folder of this machine, or S3's in another region."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from city_platform.deployment import deployment
from city_platform.errors import PermanentError
from city_platform.lake.replica import Comparison, Verification, compare, verify
from city_platform.ports import Clock, Deletions, ObjectStore

if TYPE_CHECKING:
    from city_platform.local.replicator import LocalReplicator

REPLICA = "CITY_PLATFORM_REPLICA"  # the folder, on this machine
REPLICA_REGION = "CITY_PLATFORM_REPLICA_REGION"  # the region of replica.yaml, on AWS


class NoReplica(PermanentError):
    """This deployment keeps no copy, or another one does the copying."""


@dataclass(frozen=True, slots=True)
class Replica:
    """The lake's store, its copy, and what the first remembers of deletions."""

    source: ObjectStore
    copy: ObjectStore
    deletions: Deletions

    def compare(self) -> Comparison:
        """What the copy lacks, and has beyond. Raises the stores' errors."""
        return compare(self.source, self.copy, self.deletions)

    def verify(self, clock: Clock) -> Verification:
        """The same, and whether the bytes of a few files are what they should be. Raises the stores' errors."""
        return verify(self.source, self.copy, self.deletions, clock)


def is_replicated(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment names a copy. Raises UnknownDeployment."""
    return bool(environ.get(REPLICA if deployment(environ) == "local" else REPLICA_REGION))


def open_replica(home: Path, clock: Clock, environ: Mapping[str, str] = os.environ) -> Replica:
    """Opens no connection. Raises NoReplica, ReplicaMisplaced, UnknownDeployment, IncompleteSettings."""
    if deployment(environ) == "local":
        local = open_replicator(home, clock, environ)
        return Replica(local.source, local.copy, local.deletions)
    from city_platform.aws.platform import s3_config
    from city_platform.aws.replica import S3Deletions, replica_buckets, versions_client
    from city_platform.aws.settings import AwsSettings
    from city_platform.aws.store import S3ObjectStore

    region = environ.get(REPLICA_REGION)
    if not region:
        raise NoReplica(f"no copy of the lake is kept: deploy replica.yaml, and name its region in {REPLICA_REGION}")
    settings = AwsSettings.of(environ)
    return Replica(
        S3ObjectStore(settings.buckets, home / "cache", s3_config(settings.region, settings.endpoint)),
        S3ObjectStore(
            replica_buckets(settings.buckets), home / "cache" / "replica", s3_config(region, settings.endpoint)
        ),
        S3Deletions(settings.buckets, lambda: versions_client(settings.region, settings.endpoint)),
    )


def open_replicator(home: Path, clock: Clock, environ: Mapping[str, str] = os.environ) -> "LocalReplicator":
    """Who copies the lake of this machine. Raises NoReplica, also where S3 copies; ReplicaMisplaced."""
    from city_platform.local.replicator import LocalReplicator

    if deployment(environ) != "local":
        raise NoReplica("S3 itself copies this lake, and its buckets in the other region are not written by hand")
    folder = environ.get(REPLICA)
    if not folder:
        raise NoReplica(f"no copy of the lake is kept: name a folder for it in {REPLICA}, best on another disk")
    return LocalReplicator(home / "lake", Path(folder).absolute(), clock)
