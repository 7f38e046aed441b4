"""Where a published version comes from: the versions behind it, layer by layer, back to the files that landed.

As they stood when it was made, which is not always what stands now. Reads manifests alone: whoever serves what is
published asks here, and pays for no engine.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from city_platform.errors import PermanentError
from city_platform.lake.lake import Lake
from city_platform.lake.manifest import Manifest

CHECKED, CLEANED, RAW, EXPORTS = "quality_checked", "cleaned", "raw", "exports"
PARQUET = "parquet"  # the part of an export with its rows


@dataclass(frozen=True, slots=True)
class TracedFile:
    """A file as it landed or was exported; `rows` of it are the partition's."""

    name: str
    sha256: str
    rows: int
    landed_at: datetime
    url: str | None = None
    fetched_at: datetime | None = None


class NotMade(PermanentError):
    """The lake has no manifest of a version that a later one says it was made from."""


def at_the_time(
    lake: Lake, made: Manifest, layer: str, partition: str | None = None, version: str | None = None
) -> Manifest:
    """The manifest of a layer before, as it stood when `made` was made of it; raises NotMade.

    The same version may have been published again since, under another waiver or from another file.
    """
    version = version or made.inputs[layer]
    partition = partition or made.partition
    found = [one for one in lake.history(layer, made.dataset, partition) if one.version == version]
    then = [one for one in found if one.published_at <= made.published_at]
    if not found:
        raise NotMade(
            f"{made.dataset}/{layer} {partition} has no manifest of version {version}, which {made.layer} "
            f"{made.version} was made from: restore the lake's manifests from its copy"
        )
    return then[-1] if then else found[0]


@dataclass(frozen=True, slots=True)
class Origin:
    """The versions that one partition's trusted rows went through, and the files they came from, in their order."""

    checked: Manifest
    cleaned: Manifest
    raw: Manifest
    sources: tuple[TracedFile, ...]
    exported: bool

    @classmethod
    def of(cls, lake: Lake, checked: Manifest) -> "Origin":
        before = at_the_time(lake, checked, CLEANED)
        first = at_the_time(lake, before, RAW)
        told = [_file(one) for one in first.details["sources"]]
        is_exported = EXPORTS in first.inputs
        if is_exported:
            export = at_the_time(lake, first, EXPORTS)
            (whole,) = told
            told = [
                TracedFile(one.key.rpartition("/")[2], one.sha256, one.rows, whole.landed_at)
                for one in export.parts[PARQUET]
            ]
        return cls(checked, before, first, tuple(told), is_exported)


def newest_before(lake: Lake, origin: Manifest, made: Manifest) -> Manifest:
    """The raw version that was the newest when a table was made: its day is the table's report date."""
    history = list(lake.history(RAW, made.dataset, made.partition))
    return next((one for one in reversed(history) if one.published_at <= made.published_at), origin)


def _file(told: Mapping[str, Any]) -> TracedFile:
    fetched = told["fetched_at"]
    return TracedFile(
        name=told["name"],
        sha256=told["sha256"],
        rows=told["rows_of_partition"],
        landed_at=datetime.fromisoformat(told["landed_at"]),
        url=told["url"],
        fetched_at=datetime.fromisoformat(fetched) if fetched else None,
    )
