"""Where the command's output goes: to readers that leave, to terminals that can do little, to no terminal."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "city_platform"]
GENERATE = ["generate", "parking_tickets", "--rows", "1000", "--out"]
_COLOUR = re.compile(rb"\x1b\[(?:[0-9;]*;)?(?:3[0-7]|9[0-7]|38)[0-9;]*m")


def abandoned() -> int:
    """The writing end of a pipe whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.parametrize("arguments", [["datasets", "list", "--json"], ["--help"]])
def test_results_that_nobody_reads_end_the_command_as_the_signal_would(arguments: Sequence[str]) -> None:
    out = abandoned()
    done = subprocess.run([*COMMAND, *arguments], stdout=out, stderr=subprocess.PIPE, check=False)
    os.close(out)
    assert (done.returncode, done.stderr) == (141, b"")


def test_messages_that_nobody_reads_keep_nobody_from_working(tmp_path: Path) -> None:
    err, file = abandoned(), tmp_path / "tickets.csv"
    done = subprocess.run([*COMMAND, *GENERATE, str(file), "--json"], stdout=subprocess.PIPE, stderr=err, check=False)
    missing = subprocess.run([*COMMAND, "status", "--home", str(file)], stderr=err, check=False)
    os.close(err)
    assert (done.returncode, missing.returncode) == (0, 3)
    assert file.read_bytes().count(b"\n") == 1001


def in_terminal(arguments: Sequence[str], environment: Mapping[str, str]) -> bytes:
    """What a terminal is sent."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, *arguments], env={**os.environ, **environment}, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 65_536)
            except OSError:  # the terminal's last user has gone
                break
            shown += piece
        assert process.wait() == 0, shown
    os.close(ours)
    return shown


def test_colours_and_bars_are_for_terminals_that_have_them(tmp_path: Path) -> None:
    shown = {
        name: in_terminal([*GENERATE, str(tmp_path / f"{name}.csv")], {"NO_COLOR": "", **environment})
        for name, environment in {
            "all": {"TERM": "xterm"},
            "plain": {"TERM": "xterm", "NO_COLOR": "1"},
            "dumb": {"TERM": "dumb"},
        }.items()
    }
    assert _COLOUR.search(shown["all"])
    assert b"\x1b" in shown["plain"]  # a bar moves
    assert not _COLOUR.search(shown["plain"])
    assert b"\x1b" not in shown["dumb"]
    assert (
        shown["dumb"].replace(b"\r\n", b"").startswith(bytes(tmp_path / "dumb.csv"))
    )  # the result, and no bar left behind
