"""A profile for people: rows of a table, and a page with a picture for every column."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from city_platform.pages import columns_of_bars, escape, page, share, table, tiles
from city_platform.profiling.entities import LOOKED_AT
from city_platform.profiling.measure import IQR_FACTOR, MOSTLY, Z_SCORE_THRESHOLD
from city_platform.profiling.model import IQR, Z_SCORE, ColumnProfile, Correlations, Histogram, Numbers, Profile

_RULES = {
    IQR: f"more than {IQR_FACTOR:g} interquartile ranges outside the quartiles",
    Z_SCORE: f"more than {Z_SCORE_THRESHOLD:g} standard deviations from the mean",
}
_LONG, _LONGEST = 1e4, 1e15  # from here on digits are grouped; from here on a double has no room for all of them
_DEFINITIONS = (
    "A cell is missing if it is null or an empty text, invalid if it holds no value of its column's type, else valid. "
    "A row is a duplicate if an equal row came before it, else valid. Distinct values are counted once each, unique "
    "ones occur once. The standard deviation is the sample's, skewness and kurtosis (in excess of the normal "
    "distribution's) are the population's, percentiles are interpolated. All figures are exact; the correlation is "
    "Pearson's, over the rows that have both values. "
    f"A type is inferred where at least {MOSTLY:.0%} of a column's texts fit it. Whether a column seems to hold "
    f"personal data is judged on {LOOKED_AT:,} of its distinct values and on its name; such columns and those the "
    "contract calls personal show no value."
)


def overview(profile: Profile) -> Mapping[str, str]:
    """The figures of the whole table, by name."""
    return {
        "rows": f"{profile.rows:,}",
        "columns": f"{len(profile.columns):,}",
        "valid cells": f"{profile.valid_cells_percent:.1f} %",
        "missing cells": f"{profile.missing_cells:,}",
        "invalid cells": f"{profile.invalid_cells:,}",
        "valid rows": f"{profile.valid_rows_percent:.1f} %",
        "duplicate rows": f"{profile.duplicate_rows:,}",
    }


def column_rows(profile: Profile) -> Sequence[Mapping[str, str]]:
    """A row for each column, for tables in a terminal or in Markdown."""
    return [
        {
            "column": column.name,
            "type": _type(column),
            "class": column.classification.value if column.classification else "-",
            "missing": f"{column.missing:,}",
            "invalid": f"{column.invalid:,}",
            "distinct": f"{column.distinct:,}",
            "unique": f"{column.unique:,}",
            "values": _gist(column),
        }
        for column in profile.columns
    ]


def report(profile: Profile) -> str:
    """The profile as one HTML page that needs nothing else."""
    inferred = " Types are inferred." if any(column.inferred for column in profile.columns) else ""
    body = [
        f'<p class="soft">What the rows look like before anybody has judged them.{inferred}</p>',
        tiles(overview(profile).items()),
        *(f'<p class="note">{escape(finding)}</p>' for finding in profile.findings),
        "<h2>Columns</h2>",
        _overview_table(profile),
        "<h2>Column by column</h2>",
        *(_column(number, column, profile.rows) for number, column in enumerate(profile.columns)),
        *_correlations(profile.correlations),
        "<h2>What the words mean</h2>",
        f"<p>{escape(_DEFINITIONS)}</p>",
    ]
    return page(f"Profile of {profile.name}", body)


def _gist(column: ColumnProfile) -> str:
    """What a column holds, in a few words."""
    if column.withheld:
        seems = ", ".join(entity.kind for entity in column.entities)
        return f"withheld (seems to hold {seems})" if seems else "withheld"
    if column.numbers is not None:
        return f"{_number(column.numbers.minimum)} to {_number(column.numbers.maximum)}"
    if column.times is not None:
        return f"{column.times.earliest} to {column.times.latest}"
    shown = [text if len(text) <= 24 else f"{text[:23]}…" for text, _ in column.top[:3]]  # noqa: PLR2004 -- a table's width
    return ", ".join(shown)


def _number(value: float | None) -> str:
    """Whole numbers in full, others to six digits; thousands divided where a year would not be."""
    if value is None:
        return "-"
    if abs(value) < _LONGEST and (value == int(value) or abs(value) >= _LONG):
        return f"{value:,.{0 if value == int(value) else 2}f}" if abs(value) >= _LONG else f"{value:.0f}"
    return f"{value:.6g}"


def _type(column: ColumnProfile) -> str:
    return column.type.replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ").lower()


def _overview_table(profile: Profile) -> str:
    rows = []
    for place, column in enumerate(profile.columns):
        filled = column.valid / profile.rows if profile.rows else 1.0
        rows.append(
            [
                f'<a href="#c{place}">{escape(column.name)}</a>',
                escape(_type(column)),
                _tag(column),
                f"{filled:.1%}",
                share(filled),
                f"{column.missing:,}",
                f"{column.invalid:,}",
                f"{column.distinct:,}",
                f"{column.unique:,}",
            ]
        )
    headers = ("column", "type", "class", "valid", "", "missing", "invalid", "distinct", "unique")
    return table(headers, rows, numeric=(3, 5, 6, 7, 8))


def _tag(column: ColumnProfile) -> str:
    seems = ", ".join(f"{entity.kind} {entity.share:.0%}" for entity in column.entities)
    tags = [column.classification.value] if column.classification else []
    tags += [f"seems to hold {seems}"] if seems else []
    kind = "tag personal" if column.withheld else "tag"
    return " ".join(f'<span class="{kind}">{escape(tag)}</span>' for tag in tags)


def _column(number: int, column: ColumnProfile, rows: int) -> str:
    place = f"{_type(column)}, {column.valid:,} of {rows:,} valid"
    facts = [("distinct values", f"{column.distinct:,}"), ("unique values", f"{column.unique:,}")]
    facts += [("entropy", f"{column.entropy:.2f} bit")]
    if column.lengths is not None:
        lengths = column.lengths
        facts += [("length", f"{lengths.minimum:,} to {lengths.maximum:,}, mean {lengths.mean:,.1f} characters")]
    if column.numbers is not None:
        facts += _facts(column.numbers)
    if column.times is not None:
        facts += [("earliest", column.times.earliest), ("latest", column.times.latest)]
    figures = table(("figure", "value"), [[escape(name), escape(value)] for name, value in facts], numeric=(1,))
    parts = [figures, *_pictures(column)]
    if column.withheld:
        parts.append("<p>The values of this column are withheld.</p>")
    summary = f'<h3>{escape(column.name)}</h3> <span class="soft">{escape(place)}</span> {_tag(column)}'
    split = "".join(f"<div>{part}</div>" for part in parts)
    return f'<details open id="c{number}"><summary>{summary}</summary><div class="split">{split}</div></details>'


def _pictures(column: ColumnProfile) -> Iterator[str]:
    if column.numbers is not None:
        yield _histogram(
            column.name, column.numbers.histogram, [_number(float(one)) for one in column.numbers.histogram.edges]
        )
    if column.times is not None:
        yield _histogram(column.name, column.times.histogram, [str(one) for one in column.times.histogram.edges])
    if column.top:
        most = column.top[0][1]
        rows = [
            [escape(text), f"{count:,}", f"{count / column.valid:.1%}", share(count / most)]
            for text, count in column.top
        ]
        yield table(("most frequent", "count", "share", ""), rows, numeric=(1, 2))


def _histogram(name: str, histogram: Histogram, edges: Sequence[str]) -> str:
    """The picture, and the same as a table for who cannot see it or wants the figures."""
    label = f"Histogram of {name}: {len(histogram.counts)} bins from {edges[0]} to {edges[-1]}"
    bins = [
        [f"{escape(low)} to {escape(high)}", f"{count:,}"]
        for (low, high), count in zip(pairwise(edges), histogram.counts, strict=True)
    ]
    figures = table(("from, to", "count"), bins, numeric=(1,))
    return (
        columns_of_bars(label, histogram.counts, edges[0], edges[-1])
        + f"<details><summary>Figures</summary>{figures}</details>"
    )


def _correlations(correlations: Correlations) -> Iterator[str]:
    if len(correlations.columns) < 2:  # noqa: PLR2004 -- it takes two
        return
    yield "<h2>Correlations</h2>"
    head = "".join(f"<th scope=col>{escape(name)}</th>" for name in correlations.columns)
    rows = "\n".join(
        f"<tr><th scope=row>{escape(name)}</th>" + "".join(map(_coefficient, row)) + "</tr>"
        for name, row in zip(correlations.columns, correlations.matrix, strict=True)
    )
    yield f'<div class="wide"><table><thead><tr><td></td>{head}</tr></thead><tbody>\n{rows}\n</tbody></table></div>'
    if correlations.left_out:
        yield f'<p class="soft">Not compared: {escape(", ".join(correlations.left_out))}.</p>'


def _coefficient(r: float | None) -> str:
    if r is None:
        return "<td class=r>-</td>"
    return f'<td class=r style="--r:{abs(r):.2f};--tone:var(--{"accent" if r >= 0 else "warm"})">{r:+.2f}</td>'


def _facts(numbers: Numbers) -> list[tuple[str, str]]:
    at = {percent: _number(value) for percent, value in numbers.percentiles.items()}
    return [
        ("minimum", _number(numbers.minimum)),
        ("5 % to 95 %", f"{at[5]} to {at[95]}"),
        ("quartiles", f"{at[25]} to {at[75]}"),
        ("median", _number(numbers.median)),
        ("maximum", _number(numbers.maximum)),
        ("mean", _number(numbers.mean)),
        ("standard deviation", _number(numbers.standard_deviation)),
        ("mode", _number(numbers.mode)),
        ("sum", _number(numbers.sum)),
        ("skewness, kurtosis", f"{_number(numbers.skewness)}, {_number(numbers.kurtosis)}"),
        ("zeros, negatives", f"{numbers.zeros:,}, {numbers.negatives:,}"),
        *((f"outliers, {_RULES[rule]}", f"{one.count:,}") for rule, one in sorted(numbers.outliers.items())),
    ]
