"""The kill drill at every single moment."""

from pathlib import Path

from tests.integration.test_kill import Runs, drill, moments_of, runs, undisturbed

__all__ = ["runs", "undisturbed"]  # fixtures


def test_killed_at_every_moment(tmp_path: Path, runs: Runs, undisturbed: tuple[dict[str, object], int]) -> None:
    expected, writes = undisturbed
    for n, moment in moments_of(writes):
        drill(tmp_path, runs, expected, n, moment)
