"""Checks commands in texts: that a `city-platform …` line names a command, options and arguments that exist."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import typer
from typer._click.exceptions import ClickException  # typer holds its own copy of click
from typer.core import TyperGroup

from city_platform.cli.app import app
from tests.conftest import ROOT

# What else people and builds run; their own documentation says how.
OTHERS = {
    ".", ".ci/run", "aws", "cd", "cp", "docker", "export", "git", "pip", "printf", "python3", "set", "test", "uv",
}  # fmt: skip
_VARIABLE = re.compile(r"\$\{?[A-Z_a-z0-9]+[^}\s\"]*\}?")


class NoSuchCommand(AssertionError):
    """A text names a command that is not there."""


def shell_lines(markdown: str) -> Sequence[str]:
    """The commands of a text's indented blocks, one a line, continued lines joined, comments left out.

    Fenced blocks hold what is no command: a file, a program.
    """
    blocks = re.sub(r"```\w+\n.*?```", "", markdown, flags=re.DOTALL)
    lines = [line[4:] for line in blocks.splitlines() if line.startswith("    ")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [line.split("  #")[0].strip() for line in joined if line.strip() and not line.startswith((" ", "#"))]


def check(line: str) -> None:
    """Raises NoSuchCommand where a command of the line does not exist or would be refused for its form."""
    line = re.sub(r"\$\([^)]*\)", "VALUE", line)
    for part in re.split(r"\|\||&&|\||;", line):
        words = shlex.split(_VARIABLE.sub("VALUE", part))
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        if words[:2] == ["uv", "run"]:
            words = words[2:]
        if not words or words[0] == "VALUE":
            continue
        if words[0] == "city-platform":
            _parse(line, words[1:])
        elif words[0] not in OTHERS:
            raise NoSuchCommand(f"{line}: nobody knows {words[0]}")
        elif words[0].startswith(".ci"):
            assert ROOT.joinpath(words[0]).is_file()
        for word in words:
            if re.match(r"(infrastructure|docs|city_platform)/", word) and not Path(ROOT, word).exists():
                raise NoSuchCommand(f"{line}: there is no {word}")


def _parse(line: str, words: Sequence[str]) -> None:
    command, rest = typer.main.get_command(app), list(words)
    while isinstance(command, TyperGroup):
        if not rest or rest[0] not in command.commands:
            raise NoSuchCommand(f"{line}: city-platform has no {' '.join(words)}")
        command = command.commands[rest.pop(0)]
    try:
        command.make_context(command.name, rest)
    except ClickException as error:
        raise NoSuchCommand(f"{line}: {error.format_message()}") from error
