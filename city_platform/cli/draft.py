"""`city-platform datasets draft`: the folder of a dataset that nobody has described yet."""

import os
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from city_platform.cli.options import Home, Json
from city_platform.cli.session import FAILED, OK, REFUSED, USAGE, Session

if TYPE_CHECKING:
    from city_platform.datasets import Dataset
    from city_platform.drafting.guess import Draft
    from city_platform.layers.trial import Trial


def draft_dataset(
    file: Annotated[Path, typer.Argument(help="CSV, JSON lines or xlsx, also gzipped, as the source publishes it.")],
    name: Annotated[
        str | None, typer.Option("--name", "-n", help="The dataset's name. Default: the file's, in small letters.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Where its folder is made. Default: datasets/ of the checkout.")
    ] = None,
    timezone: Annotated[str, typer.Option(help="The zone of times without an offset.")] = "America/Vancouver",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Draft a dataset's folder from one of its files: contract, recipe, rules and summary.

    Types, key, partitions, classifications and rules are guessed and tried on the file. What may tell of a person is
    proposed as personal. What only a person can know stands in the contract as a question, and `datasets check` lists
    the questions left. The draft takes no part in the platform until its status is changed to active.
    """
    from city_platform.cli.work import advancing, progress
    from city_platform.contracts.decisions import OPEN
    from city_platform.contracts.load import CONTRACT_NAME
    from city_platform.datasets import load_dataset
    from city_platform.drafting.facts import file_facts
    from city_platform.drafting.folder import folder_files
    from city_platform.drafting.guess import dataset_name, guess
    from city_platform.errors import InvalidDefinition

    session = Session.start(home, as_json=as_json)
    with session.errors():
        if not file.is_file():
            session.fail(REFUSED, f"{file} is no file: name a source file")
        session.zone(timezone)
        chosen = name or dataset_name(file.name.split(".")[0])
        if not CONTRACT_NAME.fullmatch(chosen):
            session.fail(USAGE, f"{chosen!r} cannot be a dataset's name: write small letters, digits and '_'")
        root = (folder or session.datasets_folder).absolute()
        target = root / chosen
        if target.exists():
            session.fail(USAGE, f"{target} exists already: choose another --name, or remove it")
        root.mkdir(parents=True, exist_ok=True)
        with progress(session) as bars:
            bar = bars.add_task(f"reading {file.name}, columns", total=None)
            facts = file_facts(file, timezone, advancing(bars, bar))
        draft = guess(chosen, facts, datetime.now(UTC).astimezone(ZoneInfo(timezone)).year)
        # Beside its place and hidden, so that whoever loads the datasets now sees all of the folder or nothing.
        with TemporaryDirectory(prefix=".draft-", dir=root) as scratch:
            made = Path(scratch) / chosen
            made.mkdir()
            for one, text in folder_files(draft, timezone).items():
                (made / one).write_text(text, "utf-8", newline="\n")
            dataset, decisions = load_dataset(made)
            if dataset is None:  # what a draft cannot mend: more columns than a recipe has steps, for one
                raise InvalidDefinition(one for one in decisions if one.code != OPEN)
            trial, failure = _tried(session, dataset, file)
            os.replace(made, target)  # noqa: PTH105 -- Path.replace and Path.rename take files that exist away
    session.result(
        {
            "folder": target,
            "dataset": chosen,
            "rows": facts.rows,
            "columns": [
                {
                    "header": one.header,
                    "name": one.name,
                    "type": one.sql_type,
                    "classification": one.classification,
                    "key": one.key_position,
                    "partition": one.header == draft.partition.header,
                    "why": one.why,
                }
                for one in draft.columns
            ],
            "decisions": len(decisions),
            "gate": None if trial is None else "open" if trial.passed else "closed",
            "failure": failure,
        }
    )
    if not as_json:
        _show(session, draft, target)
        _show_trial(session, trial, failure)
        session.out.print(f"{target}: {len(decisions)} decisions are left to a person.", highlight=False, markup=False)
        session.out.print(f"Next: edit {target.name}/contract.yaml, then: city-platform datasets check", markup=False)
    raise SystemExit(OK if trial is not None and trial.passed else FAILED)


def _tried(session: Session, dataset: "Dataset", file: Path) -> "tuple[Trial | None, str | None]":
    """The file under the draft, or why it could not be taken in."""
    from city_platform.cli.work import advancing, progress
    from city_platform.errors import PermanentError
    from city_platform.layers.trial import try_rules
    from city_platform.local.store import LocalObjectStore

    platform = session.platform()
    scratch = platform.lake.store.scratch()
    with TemporaryDirectory(prefix="rules-", dir=scratch) as upper, progress(session) as bars:
        bar = bars.add_task(f"trying the draft on {file.name}", total=None)
        try:
            store = LocalObjectStore(Path(upper))
            return try_rules(platform, dataset, file, store, rows=0, progress=advancing(bars, bar)), None
        except PermanentError as error:
            return None, str(error)


def _show(session: Session, draft: "Draft", target: Path) -> None:
    from rich.markup import escape

    from city_platform.cli.table import ShownTable

    table = ShownTable("column", "header", "type", "classification", "why", title=f"{target.name}: a draft")
    for one in draft.columns:
        roles = [*(["key"] if one.key_position else []), *(["year"] if one.header == draft.partition.header else [])]
        name = f"[bold]{escape(one.name)}[/]" + (f" ({', '.join(roles)})" if roles else "")
        colour = {"personal": "red", "internal": "yellow"}.get(one.classification, "green")
        kind = f"[{colour}]{one.classification}[/]"
        table.add_row(name, escape(one.header), one.sql_type, kind, escape("; ".join(one.why)))
    session.out.print(table)
    for line in draft.facts.unreadable:
        session.out.print(line, style="yellow", markup=False, highlight=False)


def _show_trial(session: Session, trial: "Trial | None", failure: str | None) -> None:
    if trial is None:
        session.err.print(f"The file does not fit its own draft: {failure}", style="red", markup=False)
        return
    rows, bad = (sum(getattr(one.verdict, name) for one in trial.partitions) for name in ("rows", "rows_failed"))
    aside = sum(one.duplicates + one.removed for one in trial.partitions)
    years = f"{trial.partitions[0].partition} to {trial.partitions[-1].partition}" if trial.partitions else "no year"
    gate = "open" if trial.passed else "stay closed"
    session.out.print(
        f"Tried on the file, {years}: {trial.source.rows:,} rows, {rows - bad:,} pass, {bad:,} fail, "
        f"{aside:,} set aside as duplicates, {trial.source.unplaced:,} of no year. The gate would {gate}.",
        highlight=False,
    )
