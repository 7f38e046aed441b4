"""Does what a lesson's page says, command by command, as a learner would."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from city_platform.cli.app import app
from city_platform.cli.lessons import FOLDER
from city_platform.lessons import Lesson, load_lessons
from tests.commands import shell_lines
from tests.conftest import ROOT

LESSONS: Mapping[str, Lesson] = {one.name: one for one in load_lessons(FOLDER)}
_LASTING = (["serve"], ["up"], ["traffic", "up"])  # they end when they are told to
_WAIT_S = 90


def commands(lesson: Lesson) -> Sequence[str]:
    """What the page says to type, in its order."""
    return shell_lines(re.sub(r"<!--.*?-->", "", lesson.text, flags=re.DOTALL))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Learner:
    """Somebody with a home of their own, ports that nobody else has, and a folder instead of /tmp."""

    home: Path
    port: int = field(default_factory=_free_port)
    broker: int = field(default_factory=_free_port)
    failed: list[str] = field(default_factory=list)  # what returned 1, as it does where a gate stands closed

    def work_through(self, lesson: Lesson, stack: ExitStack) -> None:
        """Types every command; what lasts ends with `stack`. Fails where one returns more than 1."""
        token = incident = ""
        for line in commands(lesson):
            typed = line.removeprefix("uv run ").replace(" /tmp/", f" {self.home.parent}/")
            typed = typed.replace("127.0.0.1:8000", f"127.0.0.1:{self.port}").replace("TOKEN", token)
            typed = typed.replace("INCIDENT/", f"{incident}/")
            for place, truth in enumerate(self.truths(lesson) if "ANSWER-" in typed else (), 1):
                typed = typed.replace(f"ANSWER-{place}", str(truth))
            program, *words = shlex.split(typed)
            if program != "city-platform":
                done = subprocess.run([program, *words], capture_output=True, text=True, timeout=60, check=True)
                said = json.loads(done.stdout)
                incident = said.get("incident_id", incident)
            elif words[:1] in _LASTING or words[:2] in _LASTING:
                stack.enter_context(self._lasting(words))
            else:
                code, said = self.call(*words, *self._where(words))
                assert code in {0, 1}, f"{line}: {said}"
                if code:
                    self.failed.append(typed)
                if words[0] == "token":
                    token = said.strip()

    def call(self, *words: str) -> tuple[int, str]:
        """Exit code and standard output of a command in this process."""
        done = CliRunner(env={"CITY_PLATFORM_HOME": str(self.home)}).invoke(app, words)
        assert isinstance(done.exception, SystemExit | None), (words, done.exception)
        return done.exit_code, done.stdout

    def truths(self, lesson: Lesson) -> Sequence[Any]:
        """What the platform answers to the page's questions now."""
        told = (self.call(*one.command, "--json")[1].splitlines()[-1] for one in lesson.questions)
        return [one.truth(json.loads(body)) for one, body in zip(lesson.questions, told, strict=True)]

    def _where(self, words: Sequence[str]) -> Sequence[str]:
        """This learner's ports, for commands that talk to what lasts."""
        if words[:2] == ["incidents", "simulate"]:
            return ["--url", f"http://127.0.0.1:{self.port}"]
        return ["--port", str(self.broker)] if words[:2] == ["traffic", "simulate"] else []

    @contextmanager
    def _lasting(self, words: Sequence[str]) -> Iterator[None]:
        ports = ["--port", str(self.port)]
        if words[0] == "traffic":
            ports += ["--broker-port", str(self.broker)]
        child = subprocess.Popen(
            [sys.executable, "-m", "city_platform", *words, *ports, "--home", str(self.home)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _until_answered(f"http://127.0.0.1:{self.port}/report")
            if words[0] == "traffic":
                _until_open(self.broker)
            yield
        finally:
            os.kill(child.pid, signal.SIGTERM)
            child.wait(60)


def _until_answered(url: str) -> None:
    end = time.monotonic() + _WAIT_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 -- loopback
                return
        except OSError:
            assert time.monotonic() < end, f"{url} does not answer"
            time.sleep(0.2)


def _until_open(port: int) -> None:
    end = time.monotonic() + _WAIT_S
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5):
                return
        except OSError:
            assert time.monotonic() < end, f"nobody listens on {port}"
            time.sleep(0.2)
