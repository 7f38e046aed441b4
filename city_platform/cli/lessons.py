"""`city-platform lessons`: learn a task on one's own machine, and have the answers checked by it."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated, Any

import typer

from city_platform.cli.options import Home, Json
from city_platform.cli.session import CHECKOUT, FAILED, OK, USAGE, Session

if TYPE_CHECKING:
    from city_platform.lessons import Lesson, Question

FOLDER = CHECKOUT / "docs" / "lessons"

app = typer.Typer(help="Lessons by role, worked through on this machine.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="LESSON", help="Its name, as `lessons list` shows it.")]


@app.command("list", epilog="Example: city-platform lessons list")
def list_lessons(as_json: Json = False) -> None:
    """List the lessons: for whom they are and how long they take."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    session = Session.start(None, as_json=as_json)
    lessons = _lessons(session).values()
    told = ("name", "title", "role", "minutes")
    session.result({"lessons": [{each: getattr(one, each) for each in told} for one in lessons]})
    if not as_json:
        table = Table("lesson", "for", "minutes", "what", box=SIMPLE_HEAD, pad_edge=False)
        for one in lessons:
            table.add_row(f"[bold]{one.name}[/]", one.role, str(one.minutes), one.title)
        session.out.print(table)
        session.out.print("Next: [bold]uv run city-platform lessons show NAME[/], or read the same in docs/lessons/.")
    raise SystemExit(OK)


@app.command(epilog="Example: city-platform lessons show data-steward")
def show(lesson: Name, as_json: Json = False) -> None:
    """Show a lesson: what to do, what one sees, and the questions."""
    from rich.markdown import Markdown

    session = Session.start(None, as_json=as_json)
    chosen = _lesson(session, lesson)
    questions = [{"number": one.number, "question": one.text} for one in chosen.questions]
    session.result({"name": chosen.name, "text": chosen.text, "questions": questions})
    if not as_json:
        session.out.print(Markdown(chosen.text))
    raise SystemExit(OK)


@app.command(
    epilog="Examples: city-platform lessons check data-engineer\n\ncity-platform lessons check data-engineer 2=311"
)
def check(
    context: typer.Context,
    lesson: Name,
    answers: Annotated[
        list[str] | None, typer.Argument(metavar="[NUMBER=ANSWER]...", help="Default: each question is asked.")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Compare answers with what this machine's platform says now. Exit code 1 where one is not right yet.

    A right answer is never shown: a wrong one names the command that tells it.
    """
    session = Session.start(home, as_json=as_json)
    chosen = _lesson(session, lesson)
    given = _given(session, chosen, answers or [])
    told: dict[Sequence[str], Mapping[str, Any]] = {}  # several questions ask the same command
    outcomes: list[Mapping[str, Any]] = []
    for question in chosen.questions:
        if question.number in given or not answers:
            answer = given.get(question.number) or typer.prompt(f"{question.number}. {question.text}", err=True)
            if question.command not in told:
                told[question.command] = _ask(session, context.find_root().command, question)
            outcomes.append(_judged(question, answer, told[question.command]))
            if not as_json:
                session.out.print(_line(outcomes[-1]), highlight=False)
    session.result({"lesson": chosen.name, "answers": outcomes})
    raise SystemExit(OK if all(one["outcome"] == "right" for one in outcomes) else FAILED)


def _lessons(session: Session) -> "Mapping[str, Lesson]":
    from city_platform.lessons import load_lessons

    with session.errors():
        found = {one.name: one for one in load_lessons(FOLDER)}
    if not found:
        session.fail(USAGE, "the lessons are pages of the project's checkout: run this there")
    return found


def _lesson(session: Session, name: str) -> "Lesson":
    known = _lessons(session)
    if name not in known:
        session.unknown("lesson", name, known)
    return known[name]


def _given(session: Session, lesson: "Lesson", answers: Sequence[str]) -> Mapping[int, str]:
    """The answers by number; ends the command where one is of no question or none is given to a machine."""
    numbers = {str(one.number) for one in lesson.questions}
    given = {}
    for one in answers:
        number, _, answer = one.partition("=")
        if number not in numbers or not answer.strip():
            session.fail(USAGE, f"{one!r} is no answer: write NUMBER=ANSWER with a number from 1 to {len(numbers)}")
        given[int(number)] = answer
    if session.as_json and not given:
        session.fail(USAGE, "with --json nobody is asked: give the answers as NUMBER=ANSWER")
    return given


def _ask(session: Session, commands: Callable[..., Any], question: "Question") -> Mapping[str, Any]:
    """What the question's command tells machines, run within this process on the same home."""
    said, code = io.StringIO(), OK
    try:
        with redirect_stdout(said):
            commands([*question.command, "--home", str(session.home), "--json"], standalone_mode=False)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else FAILED
    told: Mapping[str, Any] = json.loads(said.getvalue().splitlines()[-1])
    return told if code in {OK, FAILED} else {"error": told.get("error")}


def _judged(question: "Question", answer: str, told: Mapping[str, Any]) -> Mapping[str, Any]:
    from city_platform.lessons import matches

    why = told.get("error")
    truth = question.truth(told) if why is None else None
    outcome = "not yet" if truth is None else "right" if matches(answer, truth) else "wrong"
    looked = f"city-platform {' '.join(question.command)}"
    return {"number": question.number, "outcome": outcome, "asked": looked, "why": why}


def _line(one: Mapping[str, Any]) -> str:
    if one["outcome"] == "right":
        return f"{one['number']}. [green]right[/]"
    if one["outcome"] == "wrong":
        return f"{one['number']}. [red]not what the platform says[/]: look at `{one['asked']}` once more"
    return (
        f"{one['number']}. [yellow]nothing to compare with yet[/]: {one['why'] or 'do what the lesson says before it'}"
    )
