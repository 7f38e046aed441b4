"""A trace for people: sections of words and tables, for the terminal and for a page of one file that prints well."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from city_platform.layers.trace import Trace, TracedPartition
from city_platform.pages import escape, page, table, tiles
from city_platform.quality.results import Outcome

_STYLE = """\
code { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .9em; }
@media print { h2 { break-after: avoid; } tr { break-inside: avoid; } .wide { overflow: visible; }
  :root { --page: #fff; --ink: #000; --soft: #333; } }
"""


_NOTHING = "Nothing was held back."
_FORGOTTEN = "What was held back then is not known any more: its register was pruned."


@dataclass(frozen=True, slots=True)
class Section:
    """`words` are sentences; `code` are the numbers of columns whose cells are to be read letter by letter."""

    title: str
    words: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    code: frozenset[int] = frozenset()


def heading(trace: Trace) -> str:
    """What was traced, in a line."""
    what = trace.column or ("row" if trace.row is not None else "table")
    return f"{trace.title}, {trace.table} {trace.partition}: {what}"


def sections(trace: Trace) -> Iterator[Section]:
    """All that the trace says, the answer first."""
    if trace.row is not None:
        yield _figure(trace)
    yield _rows_behind(trace)
    if trace.shown:
        names = tuple(trace.shown[0].values)
        yield Section(
            "Rows, as they may be shown",
            _withheld(trace),
            ("source", "row, from 0", *names),
            tuple((one.source, str(one.row), *(_cell(one.values[name]) for name in names)) for one in trace.shown),
        )
    if trace.columns:
        yield _columns(trace)
    for one in trace.partitions:
        yield from _partition(one, trace)
    yield _version(trace)


def html(trace: Trace, command: str) -> str:
    """The page. `command` is how to ask again."""
    body = [f'<p class="soft">Asked with <code>{escape(command)}</code></p>']
    if trace.row is not None and trace.column is not None:
        behind = trace.found
        counted = "-" if behind is None else f"{behind.total if behind.counted is None else behind.counted:,}"
        body.append(tiles([(trace.column, _cell(trace.row[trace.column])), ("rows that count", counted)]))
    for one in sections(trace):
        body.append(f"<h2>{escape(one.title)}</h2>")
        body += [f"<p>{escape(words)}</p>" for words in one.words]
        if one.rows:
            cells = (
                [
                    f"<code>{escape(cell)}</code>" if place in one.code else escape(cell)
                    for place, cell in enumerate(row)
                ]
                for row in one.rows
            )
            body.append(table(one.headers, cells))
    return page(heading(trace), body, _STYLE)


def _figure(trace: Trace) -> Section:
    assert trace.row is not None  # noqa: S101 -- asked before
    again = trace.found.again if trace.found else None
    headers = ("column", "published", "made again of its rows") if trace.found else ("column", "published")
    return Section(
        "The published sum" if trace.total else "The published row",
        (f"{trace.column}: {_cell(trace.row[trace.column])}",) if trace.column else (),
        headers,
        tuple(
            (
                name,
                _cell(value),
                *((_cell(again[name]) if again and name in again else "(none)",) if trace.found else ()),
            )
            for name, value in trace.row.items()
        ),
    )


def _rows_behind(trace: Trace) -> Section:
    of = sum(one.rows for one in trace.partitions)
    found = trace.found
    if found is None:
        words = [f"{of:,} trusted rows.", f"Not narrowed: {trace.not_narrowed}."]
        return Section("Rows behind it", (*words, *map(_sentence, trace.notes)))
    words = [f"{found.total:,} of {of:,} trusted rows make this {'sum' if trace.total else 'row'}."]
    if len(found.rows) > 1:
        words.append(f"By partition: {', '.join(f'{name} {count:,}' for name, count in found.rows.items())}.")
    if found.counted is not None:
        condition = f", those with {found.condition}" if found.condition else ""
        words.append(f"Rows that count for {trace.column}: {found.counted:,}{condition}.")
    words += [f"{count:,} more were looked at beside them, for {step}." for step, count in found.beside.items()]
    if not found.total and trace.differing:
        words.append("The published row is none that the trusted rows of its version give.")
    elif trace.differing and found.reproduced and found.notes:
        words.append(
            f"All trusted rows give the published row. These alone give another {', '.join(trace.differing)}, which "
            "other rows decide, too."
        )
    elif trace.differing:
        words.append(f"Made again of these rows alone, the row differs in {', '.join(trace.differing)}.")
    else:
        words.append("Made again of these rows alone, the row is the same in every column.")
    return Section(
        "Rows behind it",
        (*words, *map(_sentence, trace.notes)),
        ("found by",) if found.filters else (),
        tuple((one,) for one in found.filters),
        frozenset({0}),
    )


def _columns(trace: Trace) -> Section:
    unknown = any(one.steps is None for one in trace.columns)
    words = (
        ("The recipe has changed since these rows were cleaned: its steps of then are not told.",) if unknown else ()
    )
    if trace.removing_steps:
        words = (*words, f"Rows are removed by: {'; '.join(trace.removing_steps)}.")
    return Section(
        "What its columns are made of",
        words,
        ("column", "trusted columns", "source columns", "SQL", "steps of the recipe"),
        tuple(
            (
                one.name,
                ", ".join(one.columns) or "none",
                ", ".join(one.source_columns) or "none",
                one.sql + (f" (masked: {one.masking})" if one.masking else ""),
                "; ".join(one.steps or ()) or "-",
            )
            for one in trace.columns
        ),
        frozenset({3}),
    )


def _partition(one: TracedPartition, trace: Trace) -> Iterator[Section]:
    named = f" of {one.partition}" if len(trace.partitions) > 1 else ""
    yield Section(
        f"Sources{named}",
        (f"{one.rows_in:,} rows came in, {one.rows:,} are trusted.",),
        ("file", "rows", "landed", "from", "sha256"),
        tuple(
            (file.name, f"{file.rows:,}", _local(file.landed_at, trace), file.url or "brought here", file.sha256)
            for file in one.sources
        ),
        frozenset({4}),
    )
    yield Section(
        f"Held back{named}",
        () if one.held_back else (_NOTHING if one.held_back is not None else _FORGOTTEN,),
        ("stage", "rule or column", "reason", "how many"),
        tuple((held.stage, held.rule_or_column or "-", held.reason, f"{held.count:,}") for held in one.held_back or ()),
    )
    yield Section(
        f"Rules{named}",
        (f"Evaluated {_local(one.evaluated_at, trace)}, data {one.data_version}, rules {one.ruleset_hash[:12]}.",),
        ("rule", "outcome", "metric", "value", "threshold", "rows failed", "in plain words"),
        tuple(
            (
                rule.rule_id,
                rule.outcome.value,
                rule.metric_name,
                "-" if rule.metric_value is None else f"{rule.metric_value:g}",
                rule.threshold,
                "-" if rule.rows_failed is None else f"{rule.rows_failed:,}",
                "-" if rule.outcome is Outcome.PASS else rule.explanation,
            )
            for rule in one.rules
        ),
    )
    if one.waivers:
        yield Section(
            f"Waivers under which it was published{named}",
            (),
            ("waiver", "rules", "until", "in force", "by", "why"),
            tuple(
                (
                    str(waiver.number),
                    ", ".join(waiver.rules),
                    _local(waiver.expires_at, trace),
                    "yes" if in_force else "no longer",
                    waiver.actor,
                    waiver.reason,
                )
                for waiver, in_force in one.waivers
            ),
        )
    yield Section(
        f"Recipe and keys{named}",
        (),
        ("what", "which"),
        (
            ("recipe", f"{one.recipe_version or 'unknown'} (sha256 {one.recipe_hash or 'unknown'})"),
            *((f"key {key}", identifier) for key, identifier in one.key_ids.items()),
            *(() if one.key_ids else (("encrypted copy", "none of exactly these rows"),)),
        ),
        frozenset({1}),
    )


def _version(trace: Trace) -> Section:
    return Section(
        "Version",
        tuple(f"{one} is not as it was published: its sha256 is another now." for one in trace.damaged),
        ("what", "which"),
        (
            ("version", trace.version),
            ("published", _local(trace.published_at, trace)),
            ("by run", trace.run_id or "not known here"),
            *((key, f"sha256 {sha256}") for key, sha256 in trace.files),
        ),
        frozenset({1}),
    )


def _withheld(trace: Trace) -> tuple[str, ...]:
    if not trace.withheld:
        return ()
    return (f"Not shown: {', '.join(trace.withheld)}. Members of the dataset's team see internal columns (--actor).",)


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


def _cell(value: str | None) -> str:
    return "(empty)" if value is None else value


def _local(time: datetime, trace: Trace) -> str:
    return time.astimezone(ZoneInfo(trace.timezone)).strftime("%Y-%m-%d %H:%M %Z")


__all__: Sequence[str] = ["Section", "heading", "html", "sections"]
