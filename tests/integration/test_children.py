"""Processes of one service end together, whoever ends first and however."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.patience import PATIENCE_S, until
from tests.town import ROOT

_PARENT = """
import sys
from pathlib import Path
from city_platform.local.children import run_together
folder = Path(sys.argv[1])
sys.exit(run_together([[sys.executable, "-c", script] for script in sys.argv[2:]], folder))
"""
_STAYS = f"import os, pathlib, time; pathlib.Path('stays').write_text(str(os.getpid())); time.sleep({PATIENCE_S})"

_AFTER_THE_FIRST = """
import time
class Waiting(subprocess.Popen):  # so that the first has written who it is before the next one fails
    def __init__(self, command, **how):
        while command[0] != sys.executable and not (folder / "stays").exists():
            time.sleep(0.05)
        super().__init__(command, **how)
subprocess.Popen = Waiting
"""


def parent(folder: Path, *scripts: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", _PARENT, str(folder), *scripts], cwd=ROOT)


def pid_of_who_stays(folder: Path) -> int:
    file = folder / "stays"
    return int(until(lambda: file.exists() and file.read_text()))


def test_when_one_fails_the_others_end_and_its_code_is_told(tmp_path: Path) -> None:
    waits = "import pathlib, sys, time\nwhile not pathlib.Path('stays').exists(): time.sleep(0.05)\nsys.exit(7)"
    child = parent(tmp_path, _STAYS, waits)
    assert child.wait(PATIENCE_S) == 7
    assert gone(pid_of_who_stays(tmp_path))


def test_when_one_is_killed_it_is_told_which(tmp_path: Path) -> None:
    dies = (
        "import os, pathlib, time\nwhile not pathlib.Path('stays').exists(): time.sleep(0.05)\nos.kill(os.getpid(), 9)"
    )
    script = [sys.executable, "-c", _PARENT, str(tmp_path), _STAYS, dies]
    ended = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert ended.returncode == 1
    assert "was killed by signal 9; everything that ran with it ends, too" in ended.stderr
    assert gone(pid_of_who_stays(tmp_path))


def test_asked_to_stop_it_ends_all_of_them_well(tmp_path: Path) -> None:
    child = parent(tmp_path, _STAYS)
    other = pid_of_who_stays(tmp_path)
    os.kill(child.pid, signal.SIGTERM)
    assert child.wait(PATIENCE_S) == 0
    assert gone(other)


def test_where_one_cannot_be_started_those_before_it_end(tmp_path: Path) -> None:
    code = _PARENT.replace("for script in sys.argv[2:]]", "for script in sys.argv[2:]] + [['/nobody/there']]")
    code = code.replace("sys.exit(run", f"import subprocess\n{_AFTER_THE_FIRST}\nsys.exit(run")
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), _STAYS], cwd=ROOT, stderr=subprocess.DEVNULL)
    other = pid_of_who_stays(tmp_path)
    assert child.wait(PATIENCE_S) == 1
    assert gone(other)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
