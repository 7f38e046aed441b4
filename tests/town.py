"""A small town for tests: its dataset `trees`, files of it, and a clock that stands still."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from city_platform.aws.settings import BUCKETS

ROOT = Path(__file__).parents[1]
FIXTURES = ROOT / "tests" / "fixtures" / "datasets"

Tree = tuple[int, str | None, str, str, str]


@dataclass
class StandingClock:
    """Shows the same time until it is set."""

    time: datetime = datetime(2026, 3, 9, 16, 30, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time


def one_bucket(name: str) -> dict[str, str]:
    """The settings of a deployment on AWS whose four zones share a bucket."""
    return dict.fromkeys(BUCKETS.values(), name)


def trees_csv(path: Path, rows: list[Tree]) -> Path:
    """Writes a source file of trees: id, species, planted, height, planter."""
    lines = ["TREE_ID;Species;Planted;Height;Planter"]
    lines += [";".join("" if cell is None else str(cell) for cell in row) for row in rows]
    path.write_bytes(("\r\n".join(lines) + "\r\n").encode("utf-8-sig"))
    return path


def good_trees(year: int, count: int = 20) -> list[Tree]:
    """Trees that pass every rule."""
    return [(year * 1000 + i, "Acer rubrum", f"{year}-05-{i % 28 + 1:02}", f"{i}.5", "Sam Poole") for i in range(count)]


def bad_trees(year: int, count: int = 20) -> list[Tree]:
    """Trees of which every second has no species: completeness 0.5, below the gate's 0.9."""
    return [(tree[0], None if tree[0] % 2 else tree[1], *tree[2:]) for tree in good_trees(year, count)]
