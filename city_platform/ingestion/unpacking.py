"""Gzip to a plain file, with an eye on what it grows to.

Two bounds: what grows too many times over is a bomb, and what is too large for this machine is refused whatever it grew
from. Where nothing is set, that is half of what its disk has free: the rows that are read from it need room, too.
"""

import gzip
import os
import re
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path

from city_platform.errors import PermanentError
from city_platform.ingestion.formats import (
    MAX_RATIO,
    RATIO_FREE_BYTES,
    SourceTooLarge,
    UnreadableSource,
    damaged_gzip,
)

UNPACKED_LIMIT = "CITY_PLATFORM_UNPACKED_LIMIT"  # bytes: 20_000_000_000
_CHUNK_BYTES = 1 << 20


class UnknownLimit(PermanentError):
    """The setting is no number of bytes."""


def unpacked_limit(folder: Path, environ: Mapping[str, str] = os.environ) -> int:
    """How many bytes a file may unpack to in that folder. Raises UnknownLimit, and OSError where there is none such."""
    said = environ.get(UNPACKED_LIMIT)
    if not said:
        return shutil.disk_usage(folder).free // 2
    if not re.fullmatch(r"[0-9][0-9_]{0,20}", said):
        raise UnknownLimit(f"{UNPACKED_LIMIT}={said!r} is no number of bytes: write 20_000_000_000 for 20 GB")
    return int(said.replace("_", ""))


def create_private(path: Path) -> Path:
    """Makes an empty file that did not exist, readable by its owner alone, to be opened by name."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    return path


def unpack(path: Path, target: Path) -> None:
    """Writes the gzip file's content to `target` (mode 0600), a chunk at a time.

    Raises UnreadableSource for data that are cut off, damaged, or that grow more than MAX_RATIO times, SourceTooLarge
    for more than `unpacked_limit`; `target` is gone then. The plain file is what makes one pass in parallel, and
    checking it, possible.
    """
    limit = unpacked_limit(target.parent)
    try:
        _unpack(path, target, limit)
    except UnreadableSource:
        target.unlink(missing_ok=True)
        raise


def _unpack(path: Path, target: Path, limit: int) -> None:
    suspicious = max(RATIO_FREE_BYTES, MAX_RATIO * path.stat().st_size)
    written = 0
    with create_private(target).open("wb") as plain:
        try:
            with gzip.open(path) as packed:
                while chunk := packed.read(_CHUNK_BYTES):
                    written += len(chunk)
                    if written > suspicious:
                        raise UnreadableSource(
                            path.name,
                            f"the file unpacks to more than {suspicious:,} bytes, over {MAX_RATIO} times its size",
                            "Unpack it yourself and look at it before giving it in",
                        )
                    if written > limit:
                        raise SourceTooLarge(path.name, limit)
                    plain.write(chunk)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise damaged_gzip(path) from error
