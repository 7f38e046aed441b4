"""`city-platform rules`: look rules over, read them in plain words, try them on a file."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from city_platform.cli.options import DatasetName, Home, Json
from city_platform.cli.session import FAILED, OK, REFUSED, USAGE, Session

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from city_platform.datasets import Dataset
    from city_platform.layers.trial import Trial
    from city_platform.quality.linter import Lint
    from city_platform.quality.model import Ruleset
    from city_platform.quality.results import RuleResult

app = typer.Typer(help="Rules: find what does not say what was meant, explain, try on a file.", no_args_is_help=True)

AnyName = Annotated[str | None, typer.Argument(metavar="[DATASET]", help="The dataset's name. Without it: all.")]
Rules = Annotated[Path | None, typer.Option("--rules", help="Another ruleset, instead of those in the folder.")]

_COLOURS = {"PASS": "green", "FAIL": "red", "WARN": "yellow", "ERROR": "red bold"}
_WORST = ("WARN", "PASS", "FAIL", "ERROR")  # a partition without anything to judge says least


@app.command(
    "lint",
    epilog="Examples: city-platform rules lint\n\n"
    "city-platform rules lint business_licences --rules draft.dqdl --strict",
)
def lint_rules(
    dataset: AnyName = None,
    rules: Rules = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail, too.")] = False,
    as_json: Json = False,
) -> None:
    """Find rules that are valid and do not say what was meant: that can never fail, never hold, or stand twice.

    Exit code 1 where a rule can never hold or cannot be judged; with --strict also where one looks wrong.
    """
    from city_platform.quality.linter import Level, as_lint, lint
    from city_platform.quality.parser import parse_ruleset

    session = Session.start(None, as_json=as_json)
    found: list[Lint] = []
    looked_at = 0
    with session.errors():
        if rules is not None:
            if dataset is None:
                session.fail(USAGE, "name the dataset that the rules are about")
            contract = session.dataset(dataset).contract
            draft, findings = parse_ruleset(session.text(rules), rules.name)
            found = [as_lint(finding, "syntax") for finding in findings]
            if draft is not None:
                found += lint(draft, contract)
                looked_at = len(draft.rules)
        else:
            for chosen in [session.dataset(dataset, drafts=True)] if dataset else session.datasets().values():
                for _, ruleset, gate in _rulesets(chosen):
                    found += lint(ruleset, chosen.contract, gate=gate)
                    looked_at += len(ruleset.rules)
    session.result({"rules": looked_at, "findings": [lint_json(one) for one in found]})
    if not as_json:
        for one in found:
            show_lint(session.out, one)
        session.out.print(f"{looked_at} rules, {len(found)} findings", highlight=False)
    failing = [one for one in found if strict or one.level is Level.ERROR]
    raise SystemExit(FAILED if failing else OK)


@app.command(epilog="Example: city-platform rules explain business_licences")
def explain(dataset: DatasetName, rules: Rules = None, as_json: Json = False) -> None:
    """Say what each rule demands in one sentence, and what happens where it is not met."""
    from city_platform.quality.declared import declared_rules

    session = Session.start(None, as_json=as_json)
    with session.errors():
        chosen = _chosen(session, dataset, rules)
    listed = {name: declared_rules(ruleset) for name, ruleset, _ in _rulesets(chosen)}
    session.result(
        {
            "dataset": chosen.name,
            "rules": [
                {
                    "ruleset": name,
                    "rule": one.settings.rule_id,
                    "line": one.line,
                    "sentence": one.explanation,
                    "action": one.settings.action,
                    "route": one.settings.route,
                    "owner": one.settings.owner,
                    "text": one.text,
                }
                for name, declared in listed.items()
                for one in declared
            ],
        }
    )
    if not as_json:
        unit = chosen.contract.partitioning.granularity
        for name, declared in listed.items():
            table = _table("Rule", "What it demands", "Otherwise")
            table.title = f"{chosen.name}: {name}.dqdl"
            for one in declared:
                otherwise = _consequence(one.settings.action, one.settings.route, unit)
                table.add_row(one.settings.rule_id, one.explanation, otherwise)
            session.out.print(table)


@app.command(
    "test",
    epilog="Examples: city-platform rules test business_licences licences.csv\n\n"
    "city-platform rules test business_licences licences.csv.gz --rules draft.dqdl --failed failed.csv",
)
def try_on_file(
    dataset: DatasetName,
    file: Annotated[Path, typer.Argument(help="CSV, JSON lines or xlsx, also gzipped, as the source publishes it.")],
    rules: Rules = None,
    rows: Annotated[int, typer.Option(min=0, max=1000, help="How many failed rows of each partition to show.")] = 5,
    failed: Annotated[Path | None, typer.Option("--failed", help="Write all failed rows to this CSV file.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Judge a file as the lake would, with cleaning and all, and leave the lake as it is.

    Personal values are never shown or written. Exit code 1 where the gate would stay closed.
    """
    from city_platform.cli.work import advancing, progress
    from city_platform.layers.trial import try_rules
    from city_platform.local.store import LocalObjectStore

    session = Session.start(home, as_json=as_json)
    with session.errors():
        chosen = _chosen(session, dataset, rules)
        if not file.is_file():
            session.fail(REFUSED, f"{file} is no file: name a source file")
        if failed is not None and failed.exists():
            session.fail(USAGE, f"{failed} exists already: name another file, or remove it")
        platform = session.platform()
        # In the lake's own scratch: the engine reads nowhere else, and what a kill leaves there goes with the next run.
        folder = platform.lake.store.scratch()
        with TemporaryDirectory(prefix="rules-", dir=folder) as scratch, progress(session) as bars:
            bar = bars.add_task(f"trying {file.name}", total=None)
            upper = LocalObjectStore(Path(scratch))
            trial = try_rules(platform, chosen, file, upper, rows=rows, failed_to=failed, progress=advancing(bars, bar))
    session.result(
        {
            "file": file.name,
            "dataset": chosen.name,
            "gate": "open" if trial.passed else "closed",
            "rows": trial.source.rows,
            "unreadable": trial.source.unreadable,
            "unplaced": trial.source.unplaced,
            "partitions": [one.to_json() for one in trial.partitions],
        }
    )
    if not as_json:
        _show(session, chosen, trial, failed)
    raise SystemExit(OK if trial.passed else FAILED)


def lint_dataset(dataset: "Dataset") -> "tuple[list[Lint], list[Lint]]":
    """What the linter finds in a dataset's folder: what must not stay, and what only looks wrong.

    A rule of the gate that can never hold keeps everything back for ever; in an advisory ruleset it does no harm.
    """
    from city_platform.quality.linter import Level, lint

    wrong: list[Lint] = []
    suspicious: list[Lint] = []
    for _, ruleset, gate in _rulesets(dataset):
        for one in lint(ruleset, dataset.contract, gate=gate):
            (wrong if gate and one.level is Level.ERROR else suspicious).append(one)
    return wrong, suspicious


def lint_json(one: "Lint") -> Mapping[str, Any]:
    return {name: getattr(one, name) for name in one.__slots__}


def _rulesets(dataset: "Dataset") -> "list[tuple[str, Ruleset, bool]]":
    """The dataset's rulesets by name, and whether each is the gate."""
    return [("rules", dataset.rules, True), *((name, ruleset, False) for name, ruleset in dataset.advisory)]


def _chosen(session: Session, name: str, rules: Path | None) -> "Dataset":
    """The dataset, under the rules of the file where one is given."""
    from city_platform.layers.trial import with_rules

    known = session.datasets()
    chosen = session.dataset(name, drafts=True)
    return with_rules(chosen, session.text(rules), rules.name, list(known.values())) if rules is not None else chosen


def show_lint(out: "Console", one: "Lint") -> None:
    """One finding on three lines."""
    place, colour = f"{one.file}:{one.line}" if one.line else one.file, "red" if one.level == "error" else "yellow"
    out.print(f"[bold]{place}[/]  [{colour}]{one.level} {one.code}[/]  {one.rule}", soft_wrap=True, highlight=False)
    out.print(f"  {one.problem}", markup=False, highlight=False, soft_wrap=True)
    out.print(f"  Write: {one.remedy}", markup=False, highlight=False, style="dim", soft_wrap=True)


def _consequence(action: str, route: str, unit: str) -> str:
    if action == "halt":
        return f"nothing of the {unit} is released" + (", and the rows are held back" if route == "row" else "")
    return "the rows are held back" if action == "quarantine" else "a warning is shown"


def _table(*headings: str) -> "Table":
    from city_platform.cli.table import ShownTable

    table = ShownTable()
    for heading in headings:
        figure = heading in {"Measured", "Rows", "Failed", "Share"}
        sentence = heading in {"What it demands", "Otherwise"}
        table.add_column(
            heading,
            justify="right" if figure else "left",
            no_wrap=figure or heading == "Outcome",
            overflow="fold",
            min_width=24 if sentence else None,
        )
    return table


def _show(session: Session, chosen: "Dataset", trial: "Trial", failed: Path | None) -> None:
    source, several, unit = trial.source, len(trial.partitions) > 1, chosen.contract.partitioning.granularity
    table = _table(
        "Rule", "Action", "Outcome", f"{unit}s".capitalize() if several else "Measured", "Rows", "Failed", "Share"
    )
    for results in zip(*(one.verdict.results for one in trial.partitions), strict=True):
        worst = max((result.outcome for result in results), key=_WORST.index)
        years = [
            one.partition for one, result in zip(trial.partitions, results, strict=True) if result.outcome == worst
        ]
        checked = sum(result.rows_checked for result in results)
        found = _failed(results)
        table.add_row(
            results[0].rule_id,
            results[0].action,
            f"[{_COLOURS[worst]}]{worst}[/]",
            _partitions(years, len(results)) if several else _measured(results[0]),
            f"{checked:,}",
            "" if found is None else f"{found:,}",
            "" if not found or not checked else f"{found / checked:.2%}",
        )
    session.out.print(table)
    _explain_failures(session, chosen.rules, [result for one in trial.partitions for result in one.verdict.results])
    for one in trial.partitions:
        for row in one.failed:
            values = ", ".join(f"{name} {'(none)' if value is None else value}" for name, value in row.values.items())
            place = f"{one.partition} row {row.row:,}: {', '.join(row.rules)}"
            session.out.print(f"[bold]{place}[/]", highlight=False)
            session.out.print(f"  {values}", markup=False, highlight=False)
    rows, bad = (sum(getattr(one.verdict, name) for one in trial.partitions) for name in ("rows", "rows_failed"))
    aside = sum(one.duplicates + one.removed for one in trial.partitions)
    session.out.print(
        f"{source.rows:,} rows: {rows - bad:,} pass, {bad:,} fail, {aside:,} set aside by the recipe or as duplicates, "
        f"{source.unplaced:,} of no {unit}; {source.unreadable:,} lines unreadable.",
        highlight=False,
    )
    if failed is not None:
        session.out.print(f"Failed rows: {failed}" if bad else "No row failed, so none were written.", highlight=False)
    closed = [one.partition for one in trial.partitions if not one.verdict.passed]
    session.out.print(f"[red]The gate would stay closed: {', '.join(closed)}.[/]" if closed else "The gate would open.")


def _explain_failures(session: Session, rules: "Ruleset", results: "Sequence[RuleResult]") -> None:
    from city_platform.quality.declared import declared_rules

    found = {result.rule_id for result in results if result.outcome in {"FAIL", "ERROR"}}
    for one in declared_rules(rules):
        if one.settings.rule_id in found:
            session.out.print(f"{one.settings.rule_id}: {one.explanation}", markup=False, highlight=False)
    for reason in dict.fromkeys(f"{one.rule_id}: {one.reason}" for one in results if one.outcome == "ERROR"):
        session.out.print(reason, style="red", markup=False, highlight=False)


def _failed(results: "Iterable[RuleResult]") -> int | None:
    counts = [result.rows_failed for result in results if result.rows_failed is not None]
    return sum(counts) if counts else None


def _measured(result: "RuleResult") -> str:
    return "" if result.metric_value is None else f"{result.metric_value:.4g}"


def _partitions(years: Sequence[str], of: int) -> str:
    if len(years) == of:
        return "all"
    return ", ".join(years) if len(years) <= 3 else f"{len(years)} of {of}"  # noqa: PLR2004 -- what fits a column
