"""The scorecard for people: Markdown for Dagster, a page of one file, and the chart of scores over time in both."""

import io
from collections.abc import Iterator, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from city_platform.governance.scorecard import PartitionState, Scorecard
from city_platform.markdown import table as markdown_table
from city_platform.pages import escape, page, table, tiles

_FRAME = "#808891"  # to be seen on white and on black
_MARKERS = "osD^vP*X"  # beside its colour each line has a mark of its own


def chart(card: Scorecard, timezone: str, kind: str) -> bytes:
    """Scores over time, one line a dataset, as `svg` or `png`: the same scorecard, the same bytes."""
    # A second of imports that only whoever draws pays for.
    import matplotlib as mpl
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "scorecard", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(8, 3.2), layout="constrained")
        axes = figure.add_subplot()
        for place, (name, line) in enumerate(sorted(card.trend.items())):
            times = date2num([*(at for at, _ in line), card.at])  # type: ignore[no-untyped-call]  # has no types
            scores = [100 * score for _, score in line]
            marker = _MARKERS[place % len(_MARKERS)]
            axes.step(times, [*scores, scores[-1]], where="post", marker=marker, markersize=4, label=name)
        axes.set_ylim(0, 102)
        axes.set_ylabel("rules passed, %")
        zone = ZoneInfo(timezone)
        locator = AutoDateLocator(tz=zone)  # type: ignore[no-untyped-call]  # the same
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=zone))  # type: ignore[no-untyped-call]  # the same
        axes.grid(visible=True, alpha=0.3)
        axes.spines[:].set_color(_FRAME)
        axes.tick_params(color=_FRAME)
        if card.trend:
            axes.legend(loc="lower left", frameon=False, ncols=2)
        drawn = io.BytesIO()
        inline = kind == "svg"  # it lies on the page's own colour, light or dark
        figure.savefig(drawn, format=kind, dpi=110, transparent=inline, metadata={"Date": None} if inline else None)
    return drawn.getvalue()


def markdown(card: Scorecard, timezone: str) -> str:
    """The whole scorecard but its chart."""
    summary = (
        f"{len(card.partitions)} partitions, {len(card.failing)} with a closed gate, "
        f"{len(card.waivers)} waivers in force, {len(card.stale)} not evaluated for a week."
    )
    parts = [
        summary,
        markdown_table(("dataset", "score"), ((name, _percent(score)) for name, score in card.scores.items())),
    ]
    for title, headers, rows in _tables(card, timezone):
        parts += [f"### {title}", markdown_table(headers, rows) if rows else "none"]
    if card.doubts:
        parts += ["### The audit log does not verify", *(f"- {one}" for one in card.doubts)]
    return "\n\n".join(parts)


def html(card: Scorecard, timezone: str) -> str:
    """The scorecard as a page that needs nothing else."""
    drawing = chart(card, timezone, "svg").decode()
    body = [
        f'<p class="soft">As of {escape(_local(card.at, timezone))}. A score is the share of rules that passed.</p>',
        tiles([("partitions", str(len(card.partitions))), ("gates closed", str(len(card.failing)))]
              + [(name, _percent(score)) for name, score in card.scores.items()]),
        "<h2>Scores over time</h2>",
        drawing[drawing.index("<svg") :],
    ]  # fmt: skip
    if card.doubts:
        doubts = "".join(f"<li>{escape(one)}</li>" for one in card.doubts)
        body.append(f'<div class="note"><h2>The audit log does not verify</h2><ul>{doubts}</ul></div>')
    for title, headers, rows in _tables(card, timezone):
        body.append(f"<h2>{escape(title)}</h2>")
        body.append(table(headers, [[escape(cell) for cell in row] for row in rows]) if rows else "<p>None.</p>")
    body.append(f'<p class="soft">Head of the audit log: {escape(str(card.head))}</p>')
    return page("Data quality scorecard", body)


def _tables(card: Scorecard, timezone: str) -> Iterator[tuple[str, Sequence[str], list[Sequence[str]]]]:
    """Title, headers and rows of what both forms show."""
    yield (
        "Partitions with a closed gate, and what to do",
        ("partition", "gate", "closed by", "why", "next"),
        [
            (
                f"{one.verdict.dataset} {one.verdict.partition}",
                one.standing.word,
                ", ".join(one.standing.unwaived),
                " ".join(one.standing.reasons),
                f"city-platform quality review {one.verdict.dataset} {one.verdict.partition}",
            )
            for one in card.failing
        ],
    )
    yield (
        "Worst rules",
        ("rule", "partitions", "rows failed", "in plain words"),
        [
            (
                f"{one.dataset} {one.rule_id}",
                f"{one.partitions_failing} of {one.partitions}",
                f"{one.rows_failed:,} of {one.rows_checked:,}",
                one.explanation,
            )
            for one in card.worst
        ],
    )
    yield (
        "Waivers in force",
        ("waiver", "partition", "rules", "until", "by", "why"),
        [
            (
                str(one.number),
                f"{one.dataset} {one.partition}",
                ", ".join(one.rules),
                _local(one.expires_at, timezone),
                one.actor,
                one.reason,
            )
            for one in card.waivers
        ],
    )
    yield (
        "Every partition",
        ("partition", "score", "before", "rows", "failed", "gate", "evaluated", "where its figures come from"),
        [
            (
                f"{one.verdict.dataset} {one.verdict.partition}",
                _percent(one.score),
                _before(one),
                f"{one.verdict.rows:,}",
                f"{one.verdict.rows_failed:,}",
                one.standing.word,
                _local(one.verdict.evaluated_at, timezone) + (" (older than a week)" if one in card.stale else ""),
                f"city-platform trace {one.verdict.dataset} {one.verdict.partition}" if one.standing.open else "-",
            )
            for one in card.partitions
        ],
    )


def _before(one: PartitionState) -> str:
    """The score of the evaluation before the newest that changed something."""
    return _percent(one.history[1].score) if len(one.history) > 1 else "-"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _local(time: datetime, timezone: str) -> str:
    return time.astimezone(ZoneInfo(timezone)).strftime("%Y-%m-%d %H:%M %Z")
