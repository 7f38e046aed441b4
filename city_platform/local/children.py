"""Child processes of one service: they run together, and end together."""

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

STOP_SECONDS = 20.0
_LOOK_SECONDS = 0.5
_ASKED = (signal.SIGINT, signal.SIGTERM)


def run_together(commands: Sequence[Sequence[str]], folder: Path, environment: Mapping[str, str] = os.environ) -> int:
    """Runs the commands until one of them ends or this process is asked to stop, then ends the others, politely first.

    Their standard output and error are this process's. The exit code is that of a child that failed by itself, else 0.
    Call it in the main thread: it takes SIGINT and SIGTERM.
    """
    # A service manager ends a service with SIGTERM, and a shell starts background jobs with SIGINT ignored: both
    # have to reach the children.
    asked_to_stop = threading.Event()
    for number in _ASKED:
        signal.signal(number, lambda *_: asked_to_stop.set())
    children = [
        subprocess.Popen(command, cwd=folder, env=environment)  # noqa: S603 -- commands are the callers' own
        for command in commands
    ]
    while all(child.poll() is None for child in children) and not asked_to_stop.wait(_LOOK_SECONDS):
        pass
    return _stop(children)


def _stop(children: Sequence["subprocess.Popen[bytes]"]) -> int:
    ended = [child.poll() for child in children]
    failed = [code for code in ended if code and -code not in _ASKED]
    for child in children:
        if child.poll() is None:
            child.terminate()
    for child in children:
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    return failed[0] if failed else 0
