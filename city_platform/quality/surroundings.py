"""What rules may look at besides the partition's own rows, as plain values.

Whoever evaluates puts these together beforehand, so that an outcome follows from the rows, the rules, the time and
this, and from nothing else. The defaults know nothing: a rule that needs more is an ERROR with the reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from city_platform.quality.references import ReferenceUse


@dataclass(frozen=True, slots=True)
class Reference:
    """Rows of another dataset, readable in the evaluation's session. `columns` maps names to SQL types."""

    relation: str  # SQL that may stand after FROM
    columns: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file the partition was made from. `landed_at` is aware: the landing is what this platform knows of its age."""

    name: str
    bytes: int
    sha256: str  # hexadecimal, in small letters
    landed_at: datetime


@dataclass(frozen=True, slots=True)
class Surroundings:
    """`references` holds, for each use, the rows or the reason why there are none.

    `earlier` maps a measure (see `measures`) to its values in earlier partitions, oldest first; None where nobody
    keeps a history. `season` is after how many partitions a pattern repeats (7 for days), 1 for none.
    """

    references: Mapping[ReferenceUse, Reference | str] = field(default_factory=dict)
    earlier: Mapping[str, Sequence[float]] | None = None
    season: int = 1
    files: Sequence[SourceFile] | None = None
