"""Homes of earlier versions come by today's settings of Dagster, and an operator's own stay."""

import hashlib
from pathlib import Path

import pytest
import yaml
from dagster._core.instance.config import dagster_instance_config

from resources.instance_settings import BEFORE, EARLIER, NAME, SETTINGS, UnreadableSettings, ensure, missing, upgrade

# What demo wrote in the versions before runs were forks, and before it was asked for nothing at the first visit.
RECORDED = [
    """\
telemetry:
  enabled: false
concurrency:
  runs:
    max_concurrent_runs: 2
run_monitoring:
  enabled: true
retention:
  sensor:
    purge_after_days: {skipped: 7, success: 30}
  schedule:
    purge_after_days: {skipped: 7}
"""
]
RECORDED.append(f"nux:\n  enabled: false\n{RECORDED[0]}")


def home(folder: Path, settings: str) -> Path:
    folder.joinpath(NAME).write_text(settings, encoding="utf-8")
    return folder


def test_a_new_home_has_everything(tmp_path: Path) -> None:
    ensure(tmp_path / "dagster")
    assert missing(tmp_path / "dagster") == []
    assert (tmp_path / "dagster" / NAME).stat().st_mode & 0o777 == 0o600
    assert dagster_instance_config(str(tmp_path / "dagster"))[0]["run_launcher"]


@pytest.mark.parametrize("settings", RECORDED)
def test_settings_that_nobody_changed_are_brought_up_to_date(tmp_path: Path, settings: str) -> None:
    ensure(home(tmp_path, settings))
    assert (tmp_path / NAME).read_text(encoding="utf-8") == SETTINGS


def test_what_every_version_wrote_is_known() -> None:
    assert {hashlib.sha256(one.encode()).hexdigest() for one in RECORDED} == EARLIER
    today = "4f208b1f44610387"  # another one: add what it was to EARLIER and RECORDED
    assert hashlib.sha256(SETTINGS.encode()).hexdigest().startswith(today)


def test_an_operators_settings_stay_until_he_asks_and_lose_nothing_then(tmp_path: Path) -> None:
    mine = RECORDED[1].replace("runs: 2", "runs: 5  # we have cores") + "run_retries:\n  enabled: true"
    ensure(home(tmp_path, mine))
    assert (tmp_path / NAME).read_text(encoding="utf-8") == mine
    assert missing(tmp_path) == ["run_queue", "run_launcher"]
    assert upgrade(tmp_path) == ["run_queue", "run_launcher"]
    text = (tmp_path / NAME).read_text(encoding="utf-8")
    assert text.startswith(mine)
    assert yaml.safe_load(text) == {
        **yaml.safe_load(SETTINGS),
        "concurrency": {"runs": {"max_concurrent_runs": 5}},
        "run_retries": {"enabled": True},
    }
    assert (tmp_path / BEFORE).read_text(encoding="utf-8") == mine
    assert (missing(tmp_path), upgrade(tmp_path)) == ([], [])


def test_what_dagster_would_not_take_together_is_not_written(tmp_path: Path) -> None:
    mine = "run_coordinator:\n  module: dagster.core.run_coordinator\n  class: DefaultRunCoordinator\n"
    home(tmp_path, mine)
    with pytest.raises(UnreadableSettings, match=r"does not go with .*run_queue.*incompatible"):
        upgrade(tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == [NAME]
    assert (tmp_path / NAME).read_text(encoding="utf-8") == mine


@pytest.mark.parametrize("settings", ["a: [", "- a", "text"])
def test_what_is_no_settings_is_refused(tmp_path: Path, settings: str) -> None:
    with pytest.raises(UnreadableSettings, match="remove it: it is made anew"):
        missing(home(tmp_path, settings))
