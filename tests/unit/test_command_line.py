"""What all commands share: quick help, whole names, lines that stay lines in a pipe, and errors that say what to do."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from city_platform.cli.app import app
from city_platform.cli.session import REFUSED, Session
from city_platform.cli.table import ShownTable
from city_platform.local.platform import local_platform
from tests.commands import check

NAME = "completeness_of_a_column_with_a_long_name"


def test_help_waits_for_no_engine() -> None:
    heavy = "{'duckdb', 'pyarrow', 'sqlglot', 'jsonschema', 'dagster', 'lark'}"
    code = f"import sys, city_platform.cli.app; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_command_has_an_example_that_is_one_and_every_option_says_what_it_does() -> None:
    def walk(command: Any, path: str) -> Iterator[tuple[str, Any]]:
        for name, one in getattr(command, "commands", {}).items():
            yield from walk(one, f"{path} {name}")
        if not hasattr(command, "commands"):
            yield path, command

    commands = dict(walk(typer.main.get_command(app), "city-platform"))
    assert len(commands) > 70
    assert [(path, one.name) for path, command in commands.items() for one in command.params if not one.help] == []
    for path, command in commands.items():
        examples = re.findall(r"(?:[A-Z_]+=\S+ )?city-platform [^\n]+", command.epilog or "")
        assert examples, path
        assert any(path in example for example in examples), path
        for example in examples:
            check(example)


def test_a_long_name_is_broken_and_never_cut() -> None:
    out = StringIO()
    table = ShownTable("rule", "in plain words")
    table.add_row(NAME, "every row needs a value there, and this sentence wants the room of three columns " * 3)
    Console(file=out, width=60).print(table)
    shown = out.getvalue()
    assert "…" not in shown
    assert NAME in "".join(line[: shown.splitlines()[1].index("in plain")].strip() for line in shown.splitlines())


def test_a_row_is_a_line_in_a_pipe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    Session.start(None, as_json=False).out.print("a word " * 60)
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_home_that_is_no_folder_is_named(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("no folder", encoding="utf-8")
    done = CliRunner().invoke(app, ["status", "--json", "--home", str(home)])
    assert done.exit_code == REFUSED
    told = json.loads(done.stdout)["error"]
    assert str(home) in told
    assert "--home" in told


def test_a_file_that_cannot_be_written_is_named_and_no_defect(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session, file = Session.start(tmp_path, as_json=False), tmp_path / "none" / "page.html"
    with pytest.raises(SystemExit) as ended, session.errors():
        file.write_text("x", encoding="utf-8")
    assert ended.value.code == REFUSED
    assert str(file) in capsys.readouterr().err.replace("\n", "")
    with pytest.raises(OSError, match="of no file"), session.errors():
        raise OSError("a defect, of no file")


def test_the_log_is_shown_whatever_somebody_wrote_into_it(tmp_path: Path) -> None:
    log = local_platform(tmp_path, threads=1).audit
    for facts in (
        {"expires_at": "soon", "rules": 7},
        {"expires_at": 3, "rules": ["a", 1]},
        {"expires_at": "0001-01-01"},
    ):
        log.append(actor="a", account="b", action="waive", facts=facts)
    done = CliRunner().invoke(app, ["audit", "show", "--home", str(tmp_path)])
    assert done.exit_code == 0, done.exception
    for told in ("waive until soon", "waive a, 1 until 3"):
        assert told in done.stdout
