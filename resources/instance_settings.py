"""Dagster's settings below a home: what the platform writes, and how homes of earlier versions come by it.

They are the operator's to change. Settings that nobody changed are brought up to date wherever the instance is opened;
what somebody wrote stays, and `city-platform home upgrade` adds the sections it lacks.
"""

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml
from dagster._core.instance.config import dagster_instance_config  # what an instance reads its settings with

from city_platform.errors import PermanentError
from city_platform.local.durability import make_folder, write_whole
from resources.run_launcher import ForkingRunLauncher

NAME, BEFORE = "dagster.yaml", "dagster.yaml.before"
SETTINGS = f"""\
nux:
  enabled: false
telemetry:
  enabled: false
concurrency:
  runs:
    max_concurrent_runs: 2
run_queue:
  dequeue_interval_seconds: 1
run_monitoring:
  enabled: true
retention:
  sensor:
    purge_after_days: {{skipped: 7, success: 30}}
  schedule:
    purge_after_days: {{skipped: 7}}
run_launcher:
  module: {ForkingRunLauncher.__module__}
  class: {ForkingRunLauncher.__name__}
"""
# sha256 of what earlier versions wrote; whoever changes SETTINGS adds what it was.
EARLIER = frozenset(
    {
        "2aea76a3c45fe932f705bfc9188fbef6654f3c56a6be1ed9ca5cf035b3483924",
        "e0ac77ee1f1b8222e45d1e2a5c906c98d3fdb747ddf4e455068758084f8e6509",
    }
)


class UnreadableSettings(PermanentError):
    """The operator's settings are no settings of Dagster's, or do not go with what is to be added."""


def ensure(folder: Path) -> None:
    """Writes the settings where there are none, or those of an earlier version that nobody changed. Raises OSError."""
    make_folder(folder)
    file = folder / NAME
    # Put there whole: an empty one, left by whoever died here, would be taken for the operator's wish.
    if not file.exists() or hashlib.sha256(file.read_bytes()).hexdigest() in EARLIER:
        write_whole(file, SETTINGS.encode())


def missing(folder: Path) -> Sequence[str]:
    """The sections that the operator's settings lack, by name. Raises UnreadableSettings, OSError."""
    file = folder / NAME
    if not file.exists():
        return []
    return [name for name in yaml.safe_load(SETTINGS) if name not in _sections(file)]


def upgrade(folder: Path) -> Sequence[str]:
    """Adds the sections that are missing behind what the operator wrote; that stays beside it as it was.

    Nothing is changed where Dagster would not take the two together. Raises UnreadableSettings, OSError.
    """
    added = missing(folder)
    if added:
        file = folder / NAME
        written = file.read_text(encoding="utf-8")
        sections = {name: section for name, section in yaml.safe_load(SETTINGS).items() if name in added}
        text = f"{written.rstrip()}\n{yaml.safe_dump(sections, sort_keys=False)}"
        with tempfile.TemporaryDirectory() as trial:
            Path(trial, NAME).write_text(text, encoding="utf-8")
            try:
                dagster_instance_config(trial)
            except Exception as error:
                raise UnreadableSettings(
                    f"{file} does not go with {', '.join(added)}: {error}. Compare it with what a new home gets"
                ) from error
        write_whole(folder / BEFORE, written.encode())
        write_whole(file, text.encode())
    return added


def _sections(file: Path) -> Sequence[str]:
    try:
        read = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UnreadableSettings(f"{file} is no YAML: {error}. Correct it, or remove it: it is made anew") from error
    if not isinstance(read, dict):
        raise UnreadableSettings(f"{file} is no list of settings: correct it, or remove it: it is made anew")
    return list(read)
