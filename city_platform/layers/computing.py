"""Where a layer's rows are computed: on this machine, or on Spark where a partition has many.

Moving to Spark changes where work is done and nothing else. Rows come back, this process writes the files, and the
manifest is published last as ever; what Spark cannot compute with surely the same outcome is computed here, and the
reason is told. Always here are the small things: the register of rejected rows, previews, what changed since the
version before, and what needs a dataset's secret, which never leaves this process.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from city_platform.engines.session import NotOnSpark, Session
from city_platform.lake.lake import Lake
from city_platform.lake.manifest import Manifest

if TYPE_CHECKING:
    from city_platform.layers.platform import Platform

_Made = TypeVar("_Made")
HERE = "DuckDB"


@dataclass(slots=True)
class Engines:
    """What computed the layers since somebody last asked, in words."""

    told: list[str] = field(default_factory=list)

    def take(self) -> Sequence[str]:
        """What was told since the last call."""
        told, self.told = self.told, []
        return told


def computed(platform: "Platform", here: Session, rows: int, work: Callable[[Session], _Made]) -> _Made:
    """What `work` makes of a partition of that many rows, on Spark if it is used for so many, else `here`.

    `work` may be called a second time, and then has to begin anew. Raises what the session raises; a lost Spark session
    ends the run, which is tried again, rather than work that is too large for this machine landing on it.
    """
    spark = platform.spark
    if spark is None:
        platform.engines.told.append(HERE)
        return work(here)
    if rows < spark.least_rows:
        platform.engines.told.append(f"{HERE}: {rows:,} rows, and Spark is asked from {spark.least_rows:,} on")
        return work(here)
    try:
        with spark.session() as session:
            made = work(session)
            platform.engines.told.append(f"Spark {session.version} at {spark.place}")
            return made
    except NotOnSpark as reason:
        platform.engines.told.append(f"{HERE}: {reason}")
    return work(here)


def files_of(session: Session, lake: Lake, manifest: Manifest, part: str) -> Sequence[Path | str]:
    """A part's files where the session reads them: in the store itself, or on this machine. As `Lake.paths`."""
    return lake.addresses(manifest, part) if session.reads_objects else lake.paths(manifest, part)
