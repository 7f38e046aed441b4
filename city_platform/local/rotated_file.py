"""Lines in a file that is never much larger than a bound: a full one becomes the one before, which it replaces."""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

MOST_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class RotatedFile:
    """Appends lines, mode 0600, from any number of processes. At most two files of about `most_bytes` each.

    Lines are for watching, not for keeping: a power cut may take the last ones. Errors: OSError.
    """

    path: Path
    most_bytes: int = MOST_BYTES

    def append(self, line: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        while True:
            with os.fdopen(os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if not self._is_still(file.fileno()):
                    continue  # another process turned it over while this one waited for the lock
                file.write(line + b"\n")
                file.flush()
                if file.tell() >= self.most_bytes:
                    self.path.replace(self.path.with_name(f"{self.path.name}.1"))
                return

    def _is_still(self, handle: int) -> bool:
        try:
            return os.path.samestat(os.fstat(handle), self.path.stat())
        except FileNotFoundError:
            return False
