"""Gzip to a plain file, with an eye on what it grows to."""

import gzip
import os
import zlib
from pathlib import Path

from city_platform.ingestion.formats import MAX_RATIO, RATIO_FREE_BYTES, UnreadableSource, damaged_gzip

_CHUNK_BYTES = 1 << 20


def create_private(path: Path) -> Path:
    """Makes an empty file that did not exist, readable by its owner alone, to be opened by name."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    return path


def unpack(path: Path, target: Path) -> None:
    """Writes the gzip file's content to `target` (mode 0600), a chunk at a time.

    Raises UnreadableSource for data that are cut off, damaged, or that grow more than MAX_RATIO times.
    The plain file is what makes one pass in parallel, and checking it, possible.
    """
    limit = max(RATIO_FREE_BYTES, MAX_RATIO * path.stat().st_size)
    written = 0
    with create_private(target).open("wb") as plain:
        try:
            with gzip.open(path) as packed:
                while chunk := packed.read(_CHUNK_BYTES):
                    written += len(chunk)
                    if written > limit:
                        raise UnreadableSource(
                            path.name,
                            f"the file unpacks to more than {limit:,} bytes, over {MAX_RATIO} times its size",
                            "Unpack it yourself and look at it before giving it in",
                        )
                    plain.write(chunk)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise damaged_gzip(path) from error
