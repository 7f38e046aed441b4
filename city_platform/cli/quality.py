"""`city-platform quality`: the steward's way from a failed row to a released partition."""

import os
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from city_platform.cli.options import Actor, DatasetName, Home, Json, Partition, Reason
from city_platform.cli.session import FAILED, OK, USAGE, Session, gate, local

if TYPE_CHECKING:
    from rich.table import Table

    from city_platform.datasets import Dataset
    from city_platform.governance.decisions import Desk
    from city_platform.layers.platform import Platform
    from city_platform.layers.proposal import Effect
    from city_platform.layers.review import Review
    from city_platform.quality.gate import Standing

app = typer.Typer(
    help="Failed rows: review them, then correct, waive, reject or release. Deciding takes the role data steward.",
    no_args_is_help=True,
)

_DURATION = re.compile(r"([1-9][0-9]{0,3})(m|h|d|w)")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@app.command(
    epilog="Examples: city-platform quality review parking_tickets\n\n"
    "city-platform quality review parking_tickets 2024 --rows 50"
)
def review(
    dataset: DatasetName,
    partition: Annotated[
        str | None, typer.Argument(help="The partition. Without it: how every one's gate stands.")
    ] = None,
    rows: Annotated[int, typer.Option(min=0, max=1000, help="How many failed rows to show.")] = 10,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show failed rules, failed rows with reasons, decisions in force, and what can be done next.

    Values of personal columns are never shown. Exit code 1 where a gate stands closed.
    """
    from city_platform.governance.decisions import read_decisions
    from city_platform.layers import cleaned
    from city_platform.layers.review import review as reviewed

    session = Session.start(home, as_json=as_json)
    with session.errors():
        chosen, platform = session.dataset(dataset), session.platform()
        decisions = read_decisions(platform.audit)
        years = [partition] if partition else platform.lake.partitions(cleaned.LAYER, dataset)
        found = [reviewed(platform, chosen, year, rows=rows if partition else 0, decisions=decisions) for year in years]
    session.result({"doubts": decisions.doubts, "partitions": [one.to_json() for one in found]})
    if not as_json:
        for doubt in decisions.doubts:
            session.err.print(f"The audit log does not verify: {doubt}", style="red", markup=False)
        zone = chosen.contract.timezone
        if partition:
            _show(session, found[0], zone)
        else:
            session.out.print(_overview(found, zone) if found else "Nothing is cleaned yet. Try: city-platform ingest")
    raise SystemExit(OK if all(one.standing.open for one in found) else FAILED)


@app.command(
    epilog="Example: city-platform quality waive parking_tickets 2024 --rule completeness_bylaw --expires 7d "
    "--actor open-data-steward --reason 'The source confirmed the gaps and corrects them next week'"
)
def waive(
    dataset: DatasetName,
    partition: Partition,
    rule: Annotated[list[str], typer.Option("--rule", "-r", help="A rule that closes the gate; repeatable.")],
    expires: Annotated[
        str,
        typer.Option(help="When it ends: 90m, 36h, 7d, 2w; 2026-12-31 (the end of that day) or 2026-12-31T17:00."),
    ],
    actor: Actor,
    reason: Reason,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Let exactly this version of the data through although rules fail, until the waiver expires."""
    from city_platform.governance.decisions import to_json
    from city_platform.layers import gated, quality_checked

    session = Session.start(home, as_json=as_json)
    with session.errors():
        chosen, platform, desk = at_the_desk(session, dataset, actor)
        until = expiry(expires, platform.clock.now(), chosen.contract.timezone)
        if until is None:
            session.fail(USAGE, f"{expires!r} is no end of a waiver: write 36h, 7d, 2w, 2026-12-31 or 2026-12-31T17:00")
        checked = platform.lake.require(quality_checked.LAYER, dataset, partition)
        verdict = quality_checked.verdict_of(checked)
        if verdict is None:
            session.fail(FAILED, f"{dataset} {partition} has no verdict: run its quality_checked layer first")
        waiver = desk.waive(verdict, rule, reason, until)
        standing = gated.gate(platform, chosen, partition)
    session.result({"waiver": to_json(waiver), "gate": standing.word if standing else None})
    if not as_json:
        session.out.print(
            f"Waiver {waiver.number}: {', '.join(waiver.rules)} of {dataset} {partition} "
            f"until {local(waiver.expires_at, chosen.contract.timezone)}, by {waiver.actor}.",
            markup=False,
            highlight=False,
        )
        _say_gate(session, standing)
        session.out.print("The sensor goes on from here while `up` runs; `quality release` does it now.")


@app.command(
    epilog="Example: city-platform quality reject parking_tickets 2024 --actor open-data-steward "
    "--reason 'The extract is of the test system'"
)
def reject(
    dataset: DatasetName, partition: Partition, actor: Actor, reason: Reason, home: Home = None, as_json: Json = False
) -> None:
    """Hold the newest version of the data back for good, whatever the rules say. It cannot be taken back."""
    from city_platform.governance.decisions import to_json
    from city_platform.layers import cleaned

    session = Session.start(home, as_json=as_json)
    with session.errors():
        _, platform, desk = at_the_desk(session, dataset, actor)
        newest = platform.lake.require(cleaned.LAYER, dataset, partition)
        rejection = desk.reject(partition, newest.version, reason)
    session.result({"rejection": to_json(rejection)})
    if not as_json:
        session.out.print(
            f"Rejected: {dataset} {partition}, version {rejection.data_version}. It never passes; land corrected data. "
            "What was published before stays published.",
            highlight=False,
        )


@app.command(
    epilog="Example: city-platform quality release parking_tickets 2024 --actor open-data-steward "
    "--reason 'The recipe was corrected'"
)
def release(
    dataset: DatasetName, partition: Partition, actor: Actor, reason: Reason, home: Home = None, as_json: Json = False
) -> None:
    """Evaluate the rules again, and publish what waits behind the gate if it opens."""
    from city_platform.cli.work import progress
    from city_platform.governance.decisions import Action, checked_reason
    from city_platform.layers import cleaned, freshness, gated, quality_checked
    from city_platform.orchestration import orchestrator

    session = Session.start(home, as_json=as_json)
    with session.errors():
        chosen, platform, desk = at_the_desk(session, dataset, actor)
        desk.require_role(Action.RELEASE, partition)
        checked_reason(reason)
        platform.lake.require(cleaned.LAYER, dataset, partition)
        wanted = {*freshness.outdated(platform, chosen, partition), quality_checked.LAYER, *freshness.GATED}
        layers = [layer.LAYER for layer in freshness.LAYERS if layer.LAYER in wanted]
        with progress(session) as bars:
            bar = bars.add_task(f"{dataset} {partition}", total=len(layers))
            run = orchestrator().materialize(session.home, dataset, partition, layers, lambda _: bars.advance(bar))
        standing = gated.gate(platform, chosen, partition)
        verdict = quality_checked.verdict_of(platform.lake.latest(quality_checked.LAYER, dataset, partition))
        if standing is None or verdict is None:
            session.fail(FAILED, run.failure or f"{dataset} {partition} has no verdict")
        entry = desk.release(verdict, standing.word, reason)
    opened = standing.open and not run.failure
    body = {"entry": entry.sequence, "gate": standing.word, "why": standing.reasons, "layers": layers}
    session.result({**body, "failure": run.failure if standing.open else None})
    if not as_json:
        _say_gate(session, standing)
        for why in standing.reasons or ([run.failure] if run.failure else []):
            session.err.print(why, style="red", markup=False, highlight=False)
        if opened:
            session.out.print(f"Published: {', '.join(freshness.GATED)} of {dataset} {partition}.")
    raise SystemExit(OK if opened else FAILED)


@app.command(
    epilog="Example: city-platform quality propose business_licences 2024 --actor open-data-steward "
    "--reason 'Two spellings of one status' --step "
    '\'{"Action": {"Operation": "REPLACE_TEXT", "Parameters": '
    '{"sourceColumn": "Status", "pattern": "^Isued$", "value": "Issued"}}}\''
)
def propose(
    dataset: DatasetName,
    partition: Partition,
    step: Annotated[str, typer.Option(help="One recipe step as JSON, or @FILE that holds it.")],
    actor: Actor,
    reason: Reason,
    before: Annotated[
        int | None,
        typer.Option(min=1, help="The place of the step it goes before. Default: before its column gets its type."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write the patch. Default: proposals/ in the home.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Write a recipe step as a patch for review, after trying it on the partition. Nothing is applied."""
    import hashlib
    import tempfile

    from city_platform.cli.work import progress
    from city_platform.governance.decisions import Action, checked_reason
    from city_platform.layers import proposal
    from city_platform.local.store import LocalObjectStore

    session = Session.start(home, as_json=as_json)
    with session.errors():
        chosen, platform, desk = at_the_desk(session, dataset, actor)
        desk.require_role(Action.PROPOSE, partition)
        checked_reason(reason)
        proposed = proposal.propose(chosen, session.text(Path(step[1:])) if step.startswith("@") else step, before)
        digest = hashlib.sha256(proposed.patch.encode()).hexdigest()
        patch = out or session.home / "proposals" / f"{dataset}-{partition}-{digest[:12]}.patch"
        if patch.exists() and patch.read_bytes() != proposed.patch.encode():
            session.fail(USAGE, f"{patch} exists and says something else: name another file with --out")
        patch.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # In the lake's own scratch: the engine reads nowhere else, and what a kill leaves there goes with the next run.
        with tempfile.TemporaryDirectory(dir=platform.lake.store.scratch()) as scratch, progress(session) as bars:
            bars.add_task(f"trying it on {dataset} {partition}", total=None)
            effect = proposal.effect_of(platform, chosen, partition, proposed, LocalObjectStore(Path(scratch)))
        handle = os.open(patch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(proposed.patch.encode())
        entry = desk.propose(partition, platform.lake.require("cleaned", dataset, partition).version, digest, reason)
    session.result(
        {
            "entry": entry.sequence,
            "patch": patch,
            "sha256": digest,
            "position": proposed.position,
            "effect": effect.to_json(),
        }
    )
    if not as_json:
        session.out.print(proposed.patch.rstrip(), markup=False, highlight=False, soft_wrap=True)
        _show_effect(session, effect)
        session.out.print(f"Proposal: {patch} (git apply), entry {entry.sequence} of the audit log.", soft_wrap=True)


@app.command(epilog="Example: city-platform quality scorecard --html scorecard.html")
def scorecard(
    html: Annotated[Path | None, typer.Option("--html", help="Write the page to this file as well.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show scores, worst rules, waivers in force and what has to be done, over all datasets, as of now."""
    from rich.markdown import Markdown

    from city_platform.governance.scorecard_page import html as page
    from city_platform.governance.scorecard_page import markdown
    from city_platform.layers.scorecard import scorecard as scored

    session = Session.start(home, as_json=as_json)
    with session.errors():
        datasets = list(session.datasets().values())
        card = scored(session.platform(), datasets)
        timezone = datasets[0].contract.timezone if datasets else "UTC"
        if html is not None:
            html.write_text(page(card, timezone), encoding="utf-8")
    session.result(card.to_json())
    if not as_json:
        session.out.print(Markdown(markdown(card, timezone)))
    raise SystemExit(FAILED if card.failing or card.doubts else OK)


def expiry(text: str, now: datetime, timezone: str) -> datetime | None:
    """The moment a waiver ends, aware: a length of time from `now`, or a local date or time; None for anything else.

    A date means the end of that day: midnight after it, on the city's clock.
    """
    if found := _DURATION.fullmatch(text.strip()):
        return now + timedelta(**{_UNITS[found[2]]: int(found[1])})
    zone = ZoneInfo(timezone)
    try:
        if len(text.strip()) == len("2026-12-31"):
            day = date.fromisoformat(text.strip()) + timedelta(days=1)
            return datetime(day.year, day.month, day.day, tzinfo=zone)
        moment = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


def at_the_desk(session: Session, dataset: str, actor: str) -> "tuple[Dataset, Platform, Desk]":
    """The dataset, and the desk at which somebody decides about its rows."""
    from city_platform.governance.decisions import Desk

    chosen, platform = session.dataset(dataset), session.platform()
    return chosen, platform, Desk(platform.audit, chosen.contract, actor.strip(), session.account())


def _say_gate(session: Session, standing: "Standing | None") -> None:
    word = standing.word if standing else "-"
    session.out.print(f"Gate: {gate(word)}", highlight=False)


def _overview(found: Sequence["Review"], timezone: str) -> "Table":
    from city_platform.contracts.partitions import granularity_of

    unit = granularity_of(found[0].partition) if found else None
    table = _table(unit or "partition", "gate", "rows", "failed", "what keeps it closed, or open", "until")
    for one in found:
        until = [waiver.expires_at for waiver in one.standing.waivers.values()]
        rejected = ["rejected"] if one.standing.rejection else []
        rules = rejected or [*one.standing.unwaived, *one.standing.waivers]
        word = one.standing.word
        table.add_row(
            one.partition,
            gate(word),
            f"{one.verdict.rows:,}" if one.verdict else "-",
            f"{one.verdict.rows_failed:,}" if one.verdict else "-",
            ", ".join(rules) or ("" if one.standing.open else "no verdict on this data"),
            local(min(until), timezone) if until else "",
        )
    return table


def _show(session: Session, one: "Review", timezone: str) -> None:
    from rich.text import Text

    verdict, standing = one.verdict, one.standing
    session.out.print(f"[bold]{one.dataset} {one.partition}[/]  version {one.data_version}", highlight=False)
    _say_gate(session, standing)
    for why in standing.reasons:
        session.out.print(why, markup=False, highlight=False)
    if verdict is not None:
        session.out.print(
            f"{verdict.rows:,} rows, {verdict.rows_passed:,} passed, {verdict.rows_failed:,} failed; "
            f"evaluated {local(verdict.evaluated_at, timezone)}",
            highlight=False,
        )
    for layer, at in one.published.items():
        note = "" if standing.open else " (stays published; the gate refuses to publish anew)"
        session.out.print(f"{layer} was published {local(at, timezone)}{note}", highlight=False)
    if one.failed:
        rules = _table("rule", "action", "outcome", "rows failed", "share", "in plain words")
        for result in one.failed:
            waiver = standing.waivers.get(result.rule_id)
            outcome = f"{result.outcome}" + (f", waived until {local(waiver.expires_at, timezone)}" if waiver else "")
            count = result.rows_failed
            share = f"{count / result.rows_checked:.2%}" if count is not None and result.rows_checked else "-"
            told = (result.rule_id, result.action.value, outcome, "-" if count is None else f"{count:,}", share)
            rules.add_row(*map(Text, (*told, result.explanation)))
        session.out.print(rules)
    if one.rows:
        rows = _table("source", "_row", "rules", "values")
        for row in one.rows:
            values = ", ".join(f"{name}={'(none)' if value is None else value}" for name, value in row.values.items())
            rows.add_row(*map(Text, (row.source, str(row.row), ", ".join(row.rules), values)))
        session.out.print(rows)
    for waiver in standing.waivers.values():
        session.out.print(
            f"Waiver {waiver.number} by {waiver.actor} until {local(waiver.expires_at, timezone)}: {waiver.reason}",
            markup=False,
            highlight=False,
        )
    session.out.print("Next:")
    for next_step in one.next_steps:
        session.out.print(f"  {next_step}", markup=False, highlight=False, soft_wrap=True)


def _show_effect(session: Session, effect: "Effect") -> None:
    from rich.text import Text

    session.out.print(
        f"Of {effect.failed_before:,} failed rows {effect.mended:,} would pass and {effect.gone:,} be gone; "
        f"{effect.newly_failing:,} rows would fail that pass now. Rows: {effect.rows_before:,} -> "
        f"{effect.rows_after:,}. Gate: {effect.gate_before} -> {effect.gate_after}.",
        highlight=False,
    )
    if effect.rules:
        rules = _table("rule", "now", "with the step")
        for old, new in effect.rules:
            rules.add_row(*map(Text, (old.rule_id, _judged(old.to_json()), _judged(new.to_json() if new else {}))))
        session.out.print(rules)
    if effect.changes:
        changes = _table("_row", "column", "now", "with the step")
        for one in effect.changes:
            changes.add_row(*map(Text, (str(one.row), one.column, one.before or "(none)", one.after or "(none)")))
        session.out.print(changes)


def _judged(result: Mapping[str, Any]) -> str:
    if not result:
        return "-"
    metric = "" if result["metric_value"] is None else f", {result['metric_name']} {result['metric_value']:g}"
    rows = "" if result["rows_failed"] is None else f", {result['rows_failed']:,} rows failed"
    return f"{result['outcome']}{metric}{rows}"


def _table(*columns: str) -> "Table":
    from city_platform.cli.table import ShownTable

    table = ShownTable()
    for name in columns:
        table.add_column(name, overflow="fold", no_wrap=name in {"rule", "action"})
    return table
