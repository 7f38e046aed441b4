"""The kill drill at every single moment."""

from pathlib import Path

from tests.integration.test_kill import drill, file, moments_of, undisturbed

__all__ = ["file", "undisturbed"]  # fixtures


def test_killed_at_every_moment(tmp_path: Path, file: Path, undisturbed: tuple[dict[str, object], int]) -> None:
    expected, writes = undisturbed
    for n, moment in moments_of(writes):
        drill(tmp_path, file, expected, n, moment)
