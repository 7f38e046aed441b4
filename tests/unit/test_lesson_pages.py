"""The pages of the lessons are whole, and answers are judged as a patient teacher would."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city_platform.cli.lessons import FOLDER
from city_platform.lessons import InvalidLesson, Lesson, load_lessons, matches, parse
from tests.commands import check, shell_lines
from tests.lessons import LESSONS, commands

PAGE = """# Count trees

For gardeners, 5 minutes.

    uv run city-platform status

**1.** How many trees
are there?

<!-- answer
status --json
trees | length(@)
-->

**2.** Which kinds?

<!-- answer
catalog search 'a tree'
kinds
-->
"""


def test_a_page_is_read() -> None:
    lesson = parse("trees", PAGE)
    assert (lesson.title, lesson.role, lesson.minutes) == ("Count trees", "gardeners", 5)
    first, second = lesson.questions
    assert (first.number, first.text, first.command) == (1, "How many trees are there?", ("status", "--json"))
    assert second.command == ("catalog", "search", "a tree")
    assert first.truth({"trees": [1, 2]}) == 2
    assert second.truth({"kinds": []}) is second.truth({"error": "the lake is empty"}) is None


@pytest.mark.parametrize(
    ("was", "instead", "where"),
    [
        ("# Count", "Count", "trees.md:1:1: begins otherwise"),
        ("For gardeners, 5 minutes.", "For gardeners.", "trees.md:1:1: begins otherwise"),
        ("**2.**", "**3.**", "trees.md:15:1: question 2 has the number 3"),
        ("**1.**", "**2.**", "trees.md:7:1: question 1 has the number 2"),  # its text goes on in the next line
        ("<!-- answer\nstatus", "<!-- status", "trees.md:7:1: a question without a way"),
        ("kinds\n-->\n", "", "trees.md:15:1: a question without a way"),
        ("trees | length(@)", "trees | length(", "trees.md:10:1: "),
        ("'a tree'", "'a tree", "trees.md:17:1: "),
    ],
)
def test_a_page_that_is_not_whole_is_refused_with_the_place(was: str, instead: str, where: str) -> None:
    assert was in PAGE
    with pytest.raises(InvalidLesson, match=re.escape(where)):
        parse("trees", PAGE.replace(was, instead))


def test_a_page_that_ends_with_its_question_or_asks_nothing_is_refused() -> None:
    before = PAGE.partition("\n\n<!-- answer")[0]
    for page, problem in ((before, "without a way"), (before.partition("**1.")[0], "asks nothing")):
        with pytest.raises(InvalidLesson, match=problem):
            parse("trees", page)


@pytest.mark.parametrize("lesson", LESSONS.values(), ids=lambda one: one.name)
def test_every_command_of_a_page_and_behind_its_questions_is_one(lesson: Lesson) -> None:
    typed = [line for line in commands(lesson) if not line.startswith("curl ")]
    assert typed
    for line in [*typed, *(f"city-platform {' '.join(one.command)} --home here --json" for one in lesson.questions)]:
        check(line)


@pytest.mark.parametrize("lesson", LESSONS.values(), ids=lambda one: one.name)
def test_what_a_page_refers_to_is_there(lesson: Lesson) -> None:
    pages = [one for one in re.findall(r"\]\(([^)]+)\)", lesson.text) if not one.startswith("http")]
    files = re.findall(r"docs/lessons/[\w/.-]+", lesson.text)
    assert [one for one in pages if not (FOLDER / one).is_file()] == []
    assert [one for one in files if not (FOLDER.parents[1] / one).is_file()] == []


def test_every_role_has_a_lesson_and_the_index_has_every_lesson() -> None:
    index = (FOLDER / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| \[([\w-]+)\]\(\1\.md\) \| ([^|]+) \| [^|]+ \|$", index, re.MULTILINE)
    assert dict(rows) == {one.name: one.role for one in LESSONS.values()}
    for line in shell_lines(index):
        check(line)


def test_only_the_index_is_no_lesson(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# Lessons", "utf-8")
    (tmp_path / "trees.md").write_text(PAGE, "utf-8")
    assert [one.name for one in load_lessons(tmp_path)] == ["trees"]


@given(number=st.integers(-(10**12), 10**12), other=st.integers(-(10**12), 10**12))
def test_a_number_is_right_however_it_is_written_and_no_other_is(number: int, other: int) -> None:
    for text in (f"{number}", f"{number:,}", f"{number:_}", f" {number} ", f"{number} %", f"`{number}`"):
        assert matches(text, number)
    assert matches(str(other), number) == (other == number)


@given(cents=st.integers(0, 10**9))
def test_an_amount_may_be_rounded_but_not_wrongly(cents: int) -> None:
    exact = f"{cents // 100}.{cents % 100:02}"  # as JSON has decimal numbers: texts
    assert matches(f"${exact}", exact)
    assert matches(str((cents + 50) // 100), exact)
    assert not matches(f"{(cents + 1) // 100}.{(cents + 1) % 100:02}", exact)
    assert not matches(str((cents + 50) // 100 + 1), exact)


@given(words=st.lists(st.from_regex(r"\A[a-z]{1,8}\Z"), min_size=1, max_size=5))
def test_several_are_right_in_any_order_and_none_may_lack(words: list[str]) -> None:
    assert matches(", ".join(reversed(words)).upper(), words)
    assert not matches(", ".join([*words, words[0]]), words)
    assert not matches(", ".join(words[1:]), words)


@pytest.mark.parametrize(
    ("answer", "truth", "right"),
    [
        ("Yes", True, True),
        ("no", False, True),
        ("no", True, False),
        ("Average  Fee Paid", "Average Fee Paid", True),
        ("'open'", "open", True),
        ("opened", "open", False),
        ("12", "12a", False),
        ("1.4", 1, False),
        ("nothing", 0, False),
        ("", ["a"], False),
    ],
)
def test_answers(answer: str, truth: object, right: bool) -> None:
    assert matches(answer, truth) is right
