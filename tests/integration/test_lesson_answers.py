"""`city-platform lessons`: a learner's answers against the learner's own platform."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from city_platform.cli.app import app
from city_platform.local.platform import local_key_service, local_platform
from tests.lessons import LESSONS

LESSON = "administrator"  # it asks for the version of a key (3), and for the entries of the audit log (4)
KEY = "alias/city-platform/business_licences/personal"


def call(*words: object) -> tuple[int, Mapping[str, Any]]:
    done = CliRunner().invoke(app, ["lessons", *map(str, words), "--json"])
    assert isinstance(done.exception, SystemExit | None), done.exception
    return done.exit_code, json.loads(done.stdout.splitlines()[-1])


def check(home: Path, *answers: str) -> tuple[int, list[str]]:
    code, told = call("check", LESSON, *answers, "--home", home)
    return code, [one["outcome"] for one in told["answers"]]


def decide(home: Path) -> None:
    log = local_platform(home).audit
    log.append(actor="open-data-steward", account="jo", action="waive", facts={"dataset": "business_licences"})


def test_an_answer_is_what_the_learners_platform_says_at_that_moment(home: Path) -> None:
    assert check(home, "3=1", "4=0") == (1, ["not yet", "right"])
    keys = local_key_service(home)
    keys.ensure(KEY)
    decide(home)
    assert check(home, "3=1", "4=1") == (0, ["right", "right"])
    assert check(home, "4=0", "3=1") == (1, ["right", "wrong"])
    keys.rotate(KEY)
    assert check(home, "3=1") == (1, ["wrong"])
    assert check(home, "3=2") == (0, ["right"])


def test_whoever_gives_no_answers_is_asked_and_told_where_to_look(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"Which keys?": ("keys list", "keys[].name"), "Which entries?": ("audit verify", "entries")}
    asked |= {"How many keys?": ("keys list", "length(keys)"), "Is it whole?": ("audit verify", "intact")}
    asked["How many rows?"] = ("quality review business_licences 1999", "sum(partitions[].rows)")
    questions = (
        f"**{place}.** {text}\n\n<!-- answer\n{command}\n{expression}\n-->\n"
        for place, (text, (command, expression)) in enumerate(asked.items(), 1)
    )
    page = "\n".join(["# Look around\n\nFor guests, 1 minutes.\n", *questions])
    tmp_path.joinpath("around.md").write_text(page, "utf-8")
    monkeypatch.setattr("city_platform.cli.lessons.FOLDER", tmp_path)
    done = CliRunner().invoke(app, ["lessons", "check", "around", "--home", str(home)], input="none\n7\n0\nyes\n9\n")
    assert done.exit_code == 1
    assert [text in done.stderr for text in asked] == [True] * len(asked)
    told = " ".join(done.stdout.split())
    assert "1. nothing to compare with yet: do what the lesson says before it" in told
    assert "5. nothing to compare with yet: business_licences/cleaned has no data for 1999" in told
    assert "2. not what the platform says: look at `city-platform audit verify` once more" in told
    assert "3. right" in told
    assert "4. right" in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["check", "data-thief", "1=2"], "did you mean data-steward?"),
        (["check", LESSON], "give the answers as NUMBER=ANSWER"),
        (["check", LESSON, "9=2"], "a number from 1 to 5"),
        (["check", LESSON, "2="], "write NUMBER=ANSWER"),
        (["show", "data-thief"], "there is no lesson"),
    ],
)
def test_a_wrong_call_is_told_what_to_write(words: list[str], said: str) -> None:
    code, told = call(*words)
    assert (code, said in told["error"]) == (2, True), told


def test_lessons_are_listed_and_shown_without_the_way_to_the_answers() -> None:
    assert {one["name"] for one in call("list")[1]["lessons"]} == LESSONS.keys()
    shown = CliRunner().invoke(app, ["lessons", "show", LESSON]).stdout
    assert "Bring the earlier one back" in shown
    assert "versions[?layer" not in shown
