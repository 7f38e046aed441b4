"""The command as its users call it: what it prints, what it returns, and that bad input loses nothing.

One test calls it as a process, as people do; the others within this one, where nothing has to be loaded again.
"""

import errno
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from city_platform.cli import work
from city_platform.cli.app import app
from city_platform.local.platform import local_platform
from city_platform.samples import generate
from tests.patience import PATIENCE_S
from tests.town import ROOT

LICENCES = "business_licences"


def call(home: Path, *arguments: object) -> tuple[int, Mapping[str, Any]]:
    """Exit code and the JSON object of a call with --json."""
    command = [sys.executable, "-m", "city_platform", *map(str, arguments), "--json"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env=os.environ | {"CITY_PLATFORM_HOME": str(home)},
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def here(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of calls within this process."""
    monkeypatch.setenv("CITY_PLATFORM_HOME", str(home))
    return home


def call_here(*arguments: object) -> tuple[int, Mapping[str, Any]]:
    """As `call`, within this process."""
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert isinstance(done.exception, SystemExit | None), done.exception
    return done.exit_code, json.loads(done.stdout.splitlines()[-1])


def test_a_newcomers_first_hour(here: Path, tmp_path: Path) -> None:
    code, told = call(here, "demo", "--rows", 3000)
    assert code == 0
    assert told["rows_landed"] == 6000
    assert {year["gate"] for year in told["partitions"]} == {"open"}
    for year in told["partitions"]:
        assert year["raw"] == year["passed"] + year["failed"] + year["duplicates"] + year["removed"]
        assert year["encrypted"] == year["passed"]
        assert year["encrypted_bytes"] > 0
    assert [path for path in (here, *here.rglob("*")) if path.stat().st_mode & 0o077] == []
    assert call_here("demo", "--rows", 3000)[1]["rows_landed"] == 0  # the same bytes again do nothing

    file = tmp_path / "licences.csv.gz"
    generate(LICENCES, file, 500, 11, (2021,))
    code, told = call_here("ingest", file, "--dataset", LICENCES)
    assert code == 0
    assert told["landed"][0]["rows"] == 500
    assert told["landed"][0]["partitions"] == ["2021"]
    code, again = call_here("ingest", file, "--dataset", LICENCES)
    assert code == 0
    assert again["landed"][0]["known"]
    assert again["partitions"] == told["partitions"]
    code, status = call_here("status")
    assert code == 0
    assert {year["partition"] for year in status["partitions"]} >= {"2021", "2022", "2023", "2024"}


def header() -> bytes:
    names = (
        "FOLDERYEAR;LicenceRSN;LicenceNumber;LicenceRevisionNumber;BusinessName;BusinessTradeName;Status;IssuedDate;"
        "ExpiredDate;BusinessType;BusinessSubType;Unit;UnitType;House;Street;City;Province;Country;PostalCode;"
        "LocalArea;NumberofEmployees;FeePaid;ExtractDate;Geom;geo_point_2d\n"
    )
    return names.encode()


# What nobody can use, and words the message has to contain.
BAD = {
    "empty": (lambda: b"", "empty"),
    "header only": (header, "no rows"),
    "rubbish": (lambda: bytes(range(256)) * 500, "licences.csv"),
    "truncated gzip": (lambda: gzip.compress(header() + b"x;" * 100_000)[:-20], "gzip"),
    "another dataset": (
        lambda: b"Block;Street;EntryDate;Bylaw;Section;Status;InfractionText;Year;BI_ID\n1;a;b;c;d;e;f;g;h\n",
        "another dataset",
    ),
    "10,000 columns": (lambda: ";".join(f"c{i}" for i in range(10_000)).encode() + b"\n" + b";" * 9999, "columns"),
    "50 MB line": (lambda: header() + b"24;" + b"x" * 50_000_000 + b"\n", "line"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_refused_clearly_and_loses_nothing(here: Path, tmp_path: Path, kind: str) -> None:
    file = tmp_path / "licences.csv"
    content, words = BAD[kind]
    file.write_bytes(content())
    before = file.read_bytes()
    code, told = call_here("ingest", file, "--dataset", LICENCES)
    assert code == 3
    ((why, name),) = [(one["why"], one["file"]) for one in told["refused"]]
    assert name == "licences.csv"
    assert words in why, why
    assert len(why) < 2000
    assert file.read_bytes() == before
    assert list(here.rglob("*.parquet")) == []
    assert list(here.rglob("objects/*")) == []


@pytest.mark.usefixtures("here")
def test_neither_a_refused_file_nor_a_broken_line_keeps_the_others_out(tmp_path: Path) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    (folder / "a-empty.csv").write_bytes(b"")
    good = generate(LICENCES, folder / "b-good.csv", 200, 3, (2024,)).path
    lines = good.read_bytes().splitlines(keepends=True)
    lines[5] = lines[5].replace(b"Vancouver", b"Vancouv\xe9r", 1)
    good.write_bytes(b"".join(lines))
    code, told = call_here("ingest", folder, "--dataset", LICENCES)
    assert code == 3
    assert [one["file"] for one in told["refused"]] == ["a-empty.csv"]
    assert [(one["file"], one["rows"], one["unreadable"]) for one in told["landed"]] == [("b-good.csv", 199, 1)]
    assert told["partitions"][0]["encrypted"] > 0


@pytest.mark.usefixtures("here")
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(work, "land", unreadable)
    file = tmp_path / "licences.csv"
    file.touch()
    code, told = call_here("ingest", file, "--dataset", LICENCES)
    assert (code, told["refused"]) == (
        3,
        [{"file": file.name, "why": f"{file.name} cannot be read: Permission denied"}],
    )


def test_keys_can_be_looked_after(here: Path) -> None:
    key = f"alias/city-platform/{LICENCES}/personal"
    local_platform(here).keys.ensure(key)
    assert [one["name"] for one in call_here("keys", "list")[1]["keys"]] == [key]
    code, told = call_here("keys", "rotate", LICENCES, "--classification", "personal")
    assert code == 0
    assert list(told["keys"]) == [key]
    assert call_here("keys", "list")[1]["keys"] == [{"name": key, "version": 2, "enabled": True}]
    assert call_here("keys", "disable", key)[1]["enabled"] is False
    assert call_here("keys", "enable", key)[1] == {"key": key, "version": 2, "enabled": True}
    assert call_here("keys", "disable", "alias/nobody")[0] == 3
    told = [one.action for one in local_platform(here).audit.read().entries]
    assert told == ["rotate keys", "keys rotated", "disable key", "enable key"]
    place = here / "lake" / "objects" / "audit" / "0000000001.json"
    entry = place.read_bytes()
    place.write_bytes(entry.replace(b"rotate", b"create"))  # nothing is decided on a log that was tampered with
    assert call_here("keys", "disable", key)[0] == 3
    assert call_here("keys", "enable", key)[0] == 3
    assert call_here("keys", "list")[1]["keys"] == [{"name": key, "version": 2, "enabled": False}]
    place.write_bytes(entry)
    assert call_here("keys", "enable", key)[0] == 0
    assert call_here("keys", "rotate", "nobody")[0] == 2
    assert call_here("keys", "rotate", LICENCES, "--classification", "public")[0] == 2
    code, told = call_here("keys", "rotate", LICENCES)
    assert (code, "create it" in told["error"]) == (3, True)
    code, told = call_here("keys", "retire", LICENCES)
    assert code == 3
    assert "wait until" in told["error"]


@pytest.mark.usefixtures("here")
def test_an_unknown_dataset_lists_the_known_ones(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("a\n1\n")
    code, told = call_here("ingest", file, "--dataset", "licences")
    assert code == 2
    assert LICENCES in told["error"]


@pytest.mark.usefixtures("here")
def test_the_shipped_datasets_hold_no_mistakes() -> None:
    code, told = call_here("datasets", "check")
    assert (code, told["mistakes"]) == (0, [])


def test_help_has_examples() -> None:
    for command in ("demo", "ingest", "generate", "status", "up"):
        done = CliRunner().invoke(app, [command, "--help"])
        assert done.exit_code == 0
        assert "Example: city-platform" in done.stdout
