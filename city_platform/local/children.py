"""Child processes of one service: they run together, and end together."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path

from city_platform.local.ending import SIGNALS, asked_to_stop

STOP_SECONDS = 20.0
_LOOK_SECONDS = 0.5


def run_together(commands: Sequence[Sequence[str]], folder: Path, environment: Mapping[str, str] = os.environ) -> int:
    """Runs the commands until one of them ends or this process is asked to stop, then ends the others, politely first.

    Their standard output and error are this process's. The exit code is that of a child that failed by itself, 1 if
    it was killed, else 0; standard error says which one it was. Raises OSError where one cannot be started. Call it in
    the main thread: it takes SIGINT and SIGTERM.
    """
    stop = asked_to_stop()
    children: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            child = subprocess.Popen(command, cwd=folder, env=environment)  # noqa: S603 -- commands are the callers' own
            children.append(child)
        while all(child.poll() is None for child in children) and not stop.wait(_LOOK_SECONDS):
            pass
        for command, child in zip(commands, children, strict=True):
            if _failed(child.poll()):
                sys.stderr.write(f"{_name(command)} {_how(child.returncode)}; everything that ran with it ends, too\n")
    finally:  # where one cannot be started, those before it end, too
        code = _stop(children)
    return code


def _failed(code: int | None) -> bool:
    """Whether a child ended by itself and not well."""
    return bool(code) and -(code or 0) not in SIGNALS


def _name(command: Sequence[str]) -> str:
    """What people call it: the module and its words, without the interpreter and the options."""
    words = command[command.index("-m") + 1 :] if "-m" in command else command
    return " ".join(takewhile(lambda word: not word.startswith("-"), words))


def _how(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _stop(children: Sequence[subprocess.Popen[bytes]]) -> int:
    ended = [child.poll() for child in children]
    failed = [code for code in ended if code and _failed(code)]
    for child in children:
        if child.poll() is None:
            child.terminate()
    for child in children:
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    return max(failed[0], 1) if failed else 0  # a signal is no exit code
