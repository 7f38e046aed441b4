"""Copying the lake of this machine to another folder: another disk, a mounted share."""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from city_platform.errors import PermanentError, TransientError
from city_platform.lake import replication
from city_platform.lake.replication import Replicated
from city_platform.local.store import LocalObjectStore
from city_platform.ports import Clock


class ReplicationRunning(TransientError):
    """Another process works on the copy; it does this, too."""


class ReplicaMisplaced(PermanentError):
    """The copy would lie in the lake, or the lake in its copy."""


class LocalReplicator:
    """Keeps the copy in a folder, which is laid out as the lake is; one process at a time."""

    def __init__(self, lake: Path, copy: Path, clock: Clock) -> None:
        """Opens nothing. Raises ReplicaMisplaced."""
        here, there = lake.resolve(), copy.resolve()
        if here.is_relative_to(there) or there.is_relative_to(here):
            raise ReplicaMisplaced(f"{copy} and {lake} are in each other: name a folder elsewhere, on another disk")
        self.source = LocalObjectStore(lake)
        self.copy = LocalObjectStore(copy)
        self.deletions = self.source.deletions
        self._lock = copy / "lock"
        self._clock = clock

    def replicate(self) -> Replicated:
        """Brings the copy up to date. Raises ReplicationRunning and StoreUnavailable."""
        with self._alone():
            done = replication.replicate(self.source, self.copy, self.deletions, self._clock.now())
            self.copy.settle()
            return done

    def restore(self) -> Replicated:
        """Brings back into the lake what is missing in it and was not deleted. Raises as `replicate`."""
        with self._alone():
            done = replication.restore(self.copy, self.source, self.deletions)
            self.source.settle()
            return done

    def remove_extra(self, keys: Iterable[str]) -> int:
        """Deletes objects from the copy; how many these were. Raises as `replicate`."""
        with self._alone():
            return replication.remove_extra(self.copy, keys)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.copy.scratch()  # makes the folder, as private as it has to be
        with os.fdopen(os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ReplicationRunning(f"another process works on {self._lock.parent}: wait for it") from error
            yield
