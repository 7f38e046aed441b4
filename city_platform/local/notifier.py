"""Notifications as lines of a file, for a machine without a mail or chat service."""

import fcntl
import json
import os
from pathlib import Path

from city_platform.ports import Clock

_LOOKED_AT = 1 << 20  # bytes at the file's end: whoever sends again does it within minutes


class FileNotifier:
    """Appends one JSON line a notification, mode 0600; of several with one name only the first, among the newest MB."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def notify(self, subject: str, body: str, *, once: str | None = None) -> None:
        said = {"at": self._clock.now().isoformat(), "subject": subject, "body": body}
        line = json.dumps(said if once is None else said | {"once": once}, ensure_ascii=False)
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(handle, "a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # between looking and appending nobody else appends
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LOOKED_AT))
            last = b""
            # Quotes inside a text are escaped.
            name = f', "once": {json.dumps(once, ensure_ascii=False)}}}\n'.encode()
            for last in file:
                if once is not None and last.endswith(name):
                    return
            # Whoever died while writing left half a line: it stays one of its own.
            file.write(f"{line}\n".encode() if last.endswith(b"\n") or not last else f"\n{line}\n".encode())
