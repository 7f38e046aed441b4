"""The incident path killed at each of its side effects."""

from pathlib import Path

import pytest

from tests.incident_stream import killed_and_run_again


def test_killed_at_any_side_effect_and_run_again_it_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_and_run_again(tmp_path, monkeypatch, every=1)
