"""A package as it is built, for this machine's Python: its handlers run from the unpacked zip and nothing else."""

import platform
import sys
import zipfile
from pathlib import Path

import pytest

from city_platform.infrastructure.package import UNZIPPED_LIMIT, Target, build
from tests.conftest import ROOT
from tests.packaged import HANDLERS, run


@pytest.mark.skipif(sys.platform != "linux", reason="packages are for Linux")
def test_the_handlers_run_from_their_package_alone(tmp_path: Path) -> None:
    here = Target(f"{sys.version_info[0]}.{sys.version_info[1]}", f"{platform.machine()}-manylinux_2_28")
    built = build(ROOT, HANDLERS, tmp_path / "functions.zip", here)
    with zipfile.ZipFile(built.file) as archive:
        archive.extractall(tmp_path / "task")
    answers = run("", tmp_path / "task", isolated=True)
    assert answers["POST /v1/incidents"] == 201
    assert "duckdb" not in answers["loaded"]


def test_what_lambda_gets_fits_and_is_the_same_again(tmp_path: Path) -> None:
    first, again = (build(ROOT, HANDLERS, tmp_path / f"{name}.zip") for name in ("first", "again"))
    assert first.unzipped < UNZIPPED_LIMIT
    assert first.sha256 == again.sha256
