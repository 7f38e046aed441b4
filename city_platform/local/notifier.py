"""Notifications as lines of a file, for a machine without a mail or chat service."""

import json
import os
from pathlib import Path

from city_platform.ports import Clock


class FileNotifier:
    """Appends one JSON line a notification, mode 0600."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def notify(self, subject: str, body: str) -> None:
        line = json.dumps({"at": self._clock.now().isoformat(), "subject": subject, "body": body}, ensure_ascii=False)
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(handle, "a", encoding="utf-8") as file:
            file.write(line + "\n")
