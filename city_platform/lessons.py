"""Lessons: pages that people work through on their own machine, and the questions whose answers are looked up there.

A page says in its second paragraph for whom it is and how long it takes. A question is a paragraph that begins with its
number in bold; the comment below it, which no reader sees, says how the platform is asked for the answer: a command of
`city-platform`, and in the line after it a JMESPath expression over what the command says with `--json`.

    **1.** How many rows of 2024 failed a rule?

    <!-- answer
    status
    partitions[?dataset=='business_licences' && partition=='2024'].failed | [0]
    -->

So no page holds an answer: it is right if it is what the learner's own platform says at that moment.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from city_platform.errors import Finding, PermanentError

_FOR = re.compile(r"^For (?P<role>[^,\n]+), (?P<minutes>\d+) minutes\.")
_QUESTION = re.compile(
    r"^\*\*(?P<number>\d+)\.\*\* (?P<text>.+?)(?:\n\n|\s*\Z)(?P<answer><!-- answer\n.*?-->)?", re.MULTILINE | re.DOTALL
)
_ANSWER = re.compile(r"<!-- answer\n(?P<command>[^\n]+)\n(?P<expression>[^\n]+)\n-->")
_NUMBER = re.compile(r"[+-]?\d+(?:\.(?P<digits>\d+))?")
_WORDS = {"true": "yes", "false": "no"}


class InvalidLesson(PermanentError):
    """A page of a lesson is not of the form that this module reads."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question: `command` are the words after `city-platform`, `expression` is JMESPath over its JSON."""

    number: int
    text: str
    command: Sequence[str]
    expression: str

    def truth(self, told: object) -> Any:
        """The right answer, given what the command told; None where there is nothing to answer yet."""
        found = jmespath.search(self.expression, told)
        return None if found == [] else found


@dataclass(frozen=True, slots=True)
class Lesson:
    """One page. `name` is its file's, without the ending."""

    name: str
    title: str
    role: str
    minutes: int
    text: str
    questions: Sequence[Question]


def load_lessons(folder: Path) -> Sequence[Lesson]:
    """The pages of a folder that are lessons, by name; its README is none. Raises InvalidLesson, OSError."""
    pages = sorted(one for one in folder.glob("*.md") if one.name != "README.md")
    return [parse(one.stem, one.read_text("utf-8")) for one in pages]


def parse(name: str, text: str) -> Lesson:
    """Raises InvalidLesson where title, audience, numbers or a way to the answer are missing or wrong."""
    title, _, rest = text.partition("\n")
    audience = _FOR.match(rest.lstrip("\n"))
    if not title.startswith("# ") or audience is None:
        raise _invalid(name, text, 0, "begins otherwise", "write '# TITLE' and then 'For ROLE, NUMBER minutes.'")
    questions = list(_questions(name, text))
    if not questions:
        raise _invalid(name, text, 0, "asks nothing", "write '**1.** QUESTION' and its answer's comment")
    return Lesson(name, title[2:].strip(), audience["role"], int(audience["minutes"]), text, questions)


def matches(answer: str, truth: object) -> bool:
    """Whether what somebody typed is the truth that the platform told.

    Numbers may have separators and signs of per cent or dollars, and fewer digits if they are rounded right. Texts
    match whatever their case; of several, the order does not matter and commas stand between.
    """
    if isinstance(truth, list):
        left = [part for part in answer.split(",") if part.strip()]
        for one in truth:
            found = next((part for part in left if matches(part, one)), None)
            if found is None:
                return False
            left.remove(found)
        return not left
    given, told = _plain(answer), _plain(str(truth))
    number, exact = _NUMBER.fullmatch(re.sub(r"[,_ %$]", "", given)), _NUMBER.fullmatch(told)
    if number and exact:
        step = Decimal(1).scaleb(-len(number["digits"] or ""))
        fewer = len(number["digits"] or "") < len(exact["digits"] or "")
        return abs(Decimal(number[0]) - Decimal(exact[0])) <= (step / 2 if fewer else 0)
    return given == _WORDS.get(told, told)


def _plain(text: str) -> str:
    return " ".join(text.split()).strip("`'\"").casefold()


def _questions(name: str, text: str) -> Iterator[Question]:
    for place, found in enumerate(_QUESTION.finditer(text), 1):
        if int(found["number"]) != place:
            raise _invalid(name, text, found.start(), f"question {place} has the number {found['number']}", "count")
        answer = _ANSWER.fullmatch(found["answer"] or "")
        if answer is None:
            remedy = "below it write '<!-- answer', the command, the expression and '-->', a line each"
            raise _invalid(name, text, found.start(), "a question without a way to its answer", remedy)
        try:
            command = tuple(shlex.split(answer["command"]))
            jmespath.compile(answer["expression"])
        except (ValueError, JMESPathError) as error:
            reason = str(error).splitlines()[0]
            raise _invalid(name, text, found.start("answer"), reason, "mend the command or the expression") from error
        yield Question(int(found["number"]), " ".join(found["text"].split()), command, answer["expression"])


def _invalid(name: str, text: str, at: int, problem: str, remedy: str) -> InvalidLesson:
    return InvalidLesson(str(Finding(f"{name}.md", text.count("\n", 0, at) + 1, 1, problem, remedy)))
