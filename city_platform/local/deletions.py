"""What was deleted from a store of this machine and is still to be deleted in its copy, as delete markers of S3.

A file each in one folder, which is there from the first replication on: so every process that works on the lake notes
its deletions, whatever its environment says. Loss is no deletion: a lake whose disk broke notes nothing, and its copy
stays as it is.
"""

import json
import os
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from city_platform.ports import Deletion, StoreUnavailable

_UNFINISHED = "."


class LocalDeletions:
    """A DeletionLog in a folder, 0700 with files of 0600: keys name no person, but say what there was."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def kept(self) -> bool:
        return self._folder.is_dir()

    def begin(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def note(self, key: str) -> None:
        """Call it before the object goes: whoever dies in between leaves a note too many, and no deletion unnoted."""
        try:
            handle, name = tempfile.mkstemp(dir=self._folder, prefix=f"{_UNFINISHED}{time.time_ns()}-")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({"key": key, "at": datetime.now(UTC).isoformat()}, file)
            note = Path(name)
            note.rename(note.with_name(note.name.removeprefix(_UNFINISHED)))
        except OSError as error:
            raise StoreUnavailable(f"cannot note that {key} is deleted: {error.strerror}") from error

    def pending(self) -> Sequence[Deletion]:
        found = []
        for path in self._folder.iterdir() if self.kept else ():
            if path.name.startswith(_UNFINISHED):
                continue
            # Forgotten meanwhile; or cut short by a power cut, and then the copy shows what it was about as `extra`.
            with suppress(FileNotFoundError, ValueError):
                note = json.loads(path.read_bytes())
                found.append(Deletion(note["key"], datetime.fromisoformat(note["at"]), path.name))
        return sorted(found, key=lambda one: (one.at, one.id))

    def forget(self, deletion: Deletion) -> None:
        with suppress(FileNotFoundError):
            (self._folder / deletion.id).unlink()

    def when(self, keys: Collection[str]) -> Mapping[str, datetime]:
        wanted = set(keys)
        return {one.key: one.at for one in self.pending() if one.key in wanted}
