"""Rules in words that somebody who has never written one understands: one sentence a rule, one an outcome."""

from collections.abc import Callable, Mapping
from decimal import Decimal

from city_platform.quality.conditions_in_words import (
    Demand,
    Figure,
    alternatives,
    demand,
    plain_figure,
    ratio,
    share,
    value_demand,
)
from city_platform.quality.demands import null_has_no_length
from city_platform.quality.model import (
    Comparison,
    Composite,
    Condition,
    Item,
    Keyword,
    Membership,
    Number,
    Rule,
    Text,
    Variable,
)
from city_platform.quality.pattern_example import example_of
from city_platform.quality.results import Outcome
from city_platform.quality.sql_in_words import condition_in_words, guarded_column, statement_in_words

# Metrics that are shares of rows, values or columns. That of AggregateMatch and of RowCountMatch may exceed 1.
_SHARES = {"completeness", "uniqueness", "unique_value_ratio", "compliance", "complete_and_unique"} | {
    *("matching_column_names", "referential_integrity", "schema_match", "dataset_match", "file_uniqueness"),
}
_TYPES = {
    "BOOLEAN": "true or false",
    "DATE": "a date",
    "TIMESTAMP": "a date with a time",
    "INTEGER": "a whole number",
    "LONG": "a whole number",
    "FLOAT": "a number",
    "DOUBLE": "a number",
}
_SAMPLE_DATE = (("yyyy", "2024"), ("MM", "05"), ("dd", "31"))
# How a sentence may begin; any other first word is a column's name and keeps its letters.
_OPENINGS = {"The", "Every", "No", "At", "One", "All", "There", "Of", "It", "Nothing"}


def explain(item: Item) -> str:
    """One sentence that says what a rule demands."""
    return _sentence(item) + "."


def outcome_sentence(
    outcome: Outcome, *, metric_name: str, metric: float | None, checked: int, failed: int | None, reason: str
) -> str:
    """One sentence that says what came out."""
    if outcome is Outcome.ERROR:
        return f"It could not be checked: {reason}."
    if outcome is Outcome.WARN:
        return "There was nothing to check" + (f": {reason}." if reason else ".")
    verdict = "It holds" if outcome is Outcome.PASS else "It does not hold"
    if reason:
        return f"{verdict}: {reason}."
    figure = _measured(metric, metric_name) if metric is not None else ""
    if failed is not None and checked:
        counted = (
            f"{checked - failed:,} of {checked:,} {'row is as it' if checked == 1 else 'rows are as they'} should be"
        )
        return f"{verdict}: {counted} ({figure})." if metric_name in _SHARES and figure else f"{verdict}: {counted}."
    return f"{verdict}: it is {figure}." if figure else f"{verdict}."


def _measured(metric: float, metric_name: str) -> str:
    if metric_name not in _SHARES:
        return f"{metric:,.6g}"
    # Nearly all is not all: neither end is reached by rounding.
    shown = min(max(metric, 0.0001), 0.9999) if 0 < metric < 1 else metric
    return f"{round(shown * 100, 2):,.15g} %"


def _sentence(item: Item) -> str:
    if isinstance(item, Composite):
        return _joined(item)
    if item.type in _ROW_DEMANDS:
        subject, demanded, only_given = _ROW_DEMANDS[item.type](item)
        return f"{subject} {demanded} in {_rows(item, demanded, only_given=only_given)}"
    if item.type not in _WHOLE_DEMANDS:
        return f"The rule type {item.type} is not known, so nothing is demanded"
    sentence = _WHOLE_DEMANDS[item.type](item)
    return f"{sentence}, counting only rows where {_where(item.where)}" if item.where is not None else sentence


def _joined(item: Composite) -> str:
    parts = [_sentence(part) for part in item.parts]
    short = len(parts) == 2 and not any(", " in part or ": " in part for part in parts)  # noqa: PLR2004 -- a pair
    if short:
        return f"{parts[0]}, {item.operator} {_within(parts[1])}"
    numbered = "; ".join(f"({place}) {_within(part)}" for place, part in enumerate(parts, 1))
    return f"{'All' if item.operator == 'and' else 'At least one'} of these must be true: {numbered}"


def _within(sentence: str) -> str:
    """A sentence as a part of a longer one."""
    first, space, rest = sentence.partition(" ")
    return f"{first.lower()}{space}{rest}" if first in _OPENINGS else sentence


# Rules about every row: a subject, what it must be, and whether rows without a value are passed over.


def _rows(rule: Rule, demanded: Demand, *, only_given: bool) -> str:
    limit = rule.tag("threshold")
    rows = _how_many(limit, "row", "rows")
    if limit is None and demanded.verb.startswith("must not"):
        rows = "any row"
    if only_given:
        return f"{rows} that {'have' if rows.endswith('s') else 'has'} a value there"
    return f"{rows} where {_where(rule.where)}" if rule.where is not None else rows


def _how_many(limit: Condition | None, one: str, many: str) -> str:
    """`every row`, or what a threshold makes of it."""
    match limit:
        case None:
            return f"every {one}"
        case Comparison(">=" | "=", Number(value)) if value == 1:
            return f"every {one}"
        case Comparison(">", Number(value)) if value == 0:
            return f"at least one of the {many}"
        case _:
            demanded = demand(limit, share)
            any_but = "any share but " if demanded.verb == "must not be" else ""
            return f"{any_but}{demanded.words} of the {many}"


def _given(rule: Rule, demanded: Demand) -> Demand:
    """The demand where a missing value fails it and is not excluded beforehand."""
    if _guarded(rule) or not demanded.verb.startswith("has to"):
        return demanded
    return Demand("has to be given and", demanded.words)


def _guarded(rule: Rule) -> bool:
    """Whether `where` says just that the rule's column is not null."""
    guarded = guarded_column(rule.where.value) if isinstance(rule.where, Text) else None
    return guarded is not None and guarded.casefold() == _first(rule).casefold()


def _values_row(rule: Rule) -> tuple[str, Demand, bool]:
    if rule.condition is None:  # an analyzer
        return _first(rule), Demand("is", "measured"), False
    if rule.condition == Comparison("!=", Keyword.NULL):
        return _first(rule), Demand("has to be", "given"), False
    demanded = value_demand(rule.condition)
    return (
        _first(rule),
        demanded if _null_passes(rule.condition) else _given(rule, demanded),
        _guarded(rule),
    )


def _null_passes(condition: Condition) -> bool:
    match condition:
        case Comparison("!=", _) | Comparison("=", Keyword()):
            return True
        case Membership(values, negated):
            return negated or (isinstance(values, tuple) and Keyword.NULL in values)
        case _:
            return False


def _length_row(rule: Rule) -> tuple[str, Demand, bool]:
    if rule.condition is None:
        return f"The length of {_first(rule)}", Demand("is", "measured"), False
    demanded = demand(rule.condition, plain_figure, " characters long")
    words = demanded.words.replace(" 1 characters", " 1 character")
    told, passed_over = Demand(demanded.verb, words), null_has_no_length(rule.condition)
    listed = isinstance(rule.condition, Membership) and not rule.condition.negated
    return _first(rule), _given(rule, told) if listed else told, passed_over and rule.where is None


def _type_row(rule: Rule) -> tuple[str, Demand, bool]:
    match rule.condition:
        case Comparison(("=" | "!=") as operator, Text(wanted)):
            words = _type_words(wanted)
            match rule.tag("format"):
                case Comparison("=", Text(date_format)):
                    words += f" written like {_sample_date(date_format)}"
            demanded = _given(rule, Demand("has to be", words)) if operator == "=" else Demand("must not be", words)
            return _first(rule), demanded, _guarded(rule)
        case _:
            return _first(rule), Demand("has to be", "of a given type"), False


def _type_words(wanted: str) -> str:
    name = wanted.upper()
    if name.startswith("DECIMAL("):
        scale = name.rstrip(")").rpartition(",")[2].strip()
        return f"a number with at most {scale} decimal{'' if scale == '1' else 's'}"
    return _TYPES.get(name, f"of the type {wanted}")


def _sample_date(date_format: str) -> str:
    for token, sample in _SAMPLE_DATE:
        date_format = date_format.replace(token, sample)
    return date_format


def _age_row(rule: Rule) -> tuple[str, Demand, bool]:
    if rule.condition is None:
        return _first(rule), Demand("has to be", "given"), False
    return _first(rule), _given(rule, demand(rule.condition, plain_figure, " ago")), _guarded(rule)


_ROW_DEMANDS: Mapping[str, Callable[[Rule], tuple[str, Demand, bool]]] = {
    "ColumnValues": _values_row,
    "ColumnLength": _length_row,
    "ColumnDataType": _type_row,
    "DataFreshness": _age_row,
}


# Rules about the whole.


def _figure_of(subject: str, figure: Figure = plain_figure) -> Callable[[Rule], str]:
    """A rule that compares one figure. {first} is the first parameter, {together} all of them as one key."""

    def sentence(rule: Rule) -> str:
        said = subject.format(first=_first(rule), together=_together(rule), both=" and ".join(_names(rule)))
        return f"{said} {_must(rule.condition, figure)}"

    return sentence


def _must(condition: Condition | None, figure: Figure) -> str:
    return str(demand(condition, figure)) if condition is not None else "is measured"


def _fixed(sentence: str) -> Callable[[Rule], str]:
    return lambda rule: sentence.format(first=_first(rule), together=_together(rule))


def _unique(rule: Rule) -> str:
    return f"No two rows may have the same {'values' if len(_names(rule)) > 1 else 'value'} in {_together(rule)}"


def _key(rule: Rule) -> str:
    names = _names(rule)
    if len(names) == 1:
        return f"Every row needs a value in {names[0]} that no other row has"
    return f"Every row needs a value in {alternatives(names, 'and')}, and no two rows may have the same combination"


def _column_names(rule: Rule) -> str:
    pattern = _first(rule)
    example = example_of(pattern)
    # Unlike `matches`, this pattern may be found anywhere in the name.
    sought = f"something like “{example}”" if example else f"a match of {pattern}"
    return f"The name of every column has to contain {sought}"


def _sql(rule: Rule) -> str:
    told = statement_in_words(_first(rule))
    if rule.condition is not None:
        return f"{told[0].upper()}{told[1:]} {_must(rule.condition, plain_figure)}"
    rows = _how_many(rule.tag("threshold"), "row", "rows")
    if told.startswith("rows where "):
        return f"It has to be true in {rows} that {told.removeprefix('rows where ')}"
    return f"It has to be true in {rows} that it is in {told}"


def _referential(rule: Rule) -> str:
    here, there = (*_names(rule), "", "")[:2]
    dataset, _, columns = there.rpartition(".")
    found = f"found in {_columns(columns.strip('{}'))} of {dataset}"
    if rule.condition is None or _is_one(rule.condition):
        return f"The {_columns(here)} of every row has to be {found}"
    return f"The share of rows whose {_columns(here)} is {found} {_must(rule.condition, share)}"


def _row_count_match(rule: Rule) -> str:
    if rule.condition is not None and _is_one(rule.condition):
        return f"There have to be as many rows as in {_first(rule)}"
    return f"The number of rows, divided by that of {_first(rule)}, {_must(rule.condition, ratio)}"


def _schema_match(rule: Rule) -> str:
    if rule.condition is not None and _is_one(rule.condition):
        return f"The columns have to have the same names and types as those of {_first(rule)}"
    return f"The share of columns with the same name and type as in {_first(rule)} {_must(rule.condition, share)}"


def _aggregate_match(rule: Rule) -> str:
    first, second = (_aggregate(text) for text in (*_names(rule), "", "")[:2])
    if rule.condition is not None and _is_one(rule.condition):
        return f"The {first} has to be the same as the {second}"
    return f"The {first}, divided by the {second}, {_must(rule.condition, ratio)}"


def _aggregate(text: str) -> str:
    function, _, column = text.rstrip(") ").partition("(")
    word = {"sum": "sum", "avg": "average"}.get(function.strip().lower(), function.strip())
    dataset, dot, name = column.strip().rpartition(".")
    return f"{word} of {name}" + (f" in {dataset}" if dot and dataset != "primary" else "")


def _dataset_match(rule: Rule) -> str:
    reference, keys, *compared = (*_names(rule), "", "")[:3]
    about = f" in {_columns(compared[0])}" if compared and compared[0] else ""
    same = f"that agree{about} with the row of {reference} with the same {_columns(keys)}"
    return f"The share of rows {same} {_must(rule.condition, share)}"


def _anomalies(rule: Rule) -> str:
    figure = _first(rule)
    told = _WHOLE_DEMANDS.get(figure)
    subject = told(Rule(figure, rule.parameters[1:])).removesuffix(" is measured") if told else f"The figure {figure}"
    return f"{subject} has to be in line with the figures before"


def _files(said: Callable[[Rule], str]) -> Callable[[Rule], str]:
    def sentence(rule: Rule) -> str:
        which = _how_many(rule.tag("threshold"), "source file", "source files")
        told = said(rule).replace("has", "have", 1) if which.endswith("s") else said(rule)
        return f"{which[0].upper()}{which[1:]} {told}"

    return sentence


def _arrived(rule: Rule) -> str:
    return "has to have arrived" + (f" {value_demand(rule.condition).words}" if rule.condition is not None else "")


def _is_one(condition: Condition) -> bool:
    return condition in {Comparison("=", Number(Decimal(1))), Comparison(">=", Number(Decimal(1)))}


_WHOLE_DEMANDS: Mapping[str, Callable[[Rule], str]] = {
    "RowCount": _figure_of("The number of rows"),
    "ColumnCount": _figure_of("The number of columns"),
    "ColumnExists": _fixed("There has to be a column named {first}"),
    "IsComplete": _fixed("Every row needs a value in {first}"),
    "Completeness": _figure_of("The share of rows with a value in {first}", share),
    "IsUnique": _unique,
    "Uniqueness": _figure_of("The share of rows whose value in {together} is theirs alone", share),
    "UniqueValueRatio": _figure_of("Of the different values in {together}, the share that occurs only once", share),
    "DistinctValuesCount": _figure_of("The number of different values in {together}"),
    "IsPrimaryKey": _key,
    "ColumnNamesMatchPattern": _column_names,
    "CustomSql": _sql,
    "Mean": _figure_of("The average of {first}"),
    "Sum": _figure_of("The sum of {first}"),
    "StandardDeviation": _figure_of("The usual distance of {first} from its average (the standard deviation)"),
    "Variance": _figure_of("The spread of {first} (the square of the standard deviation)"),
    "Entropy": _figure_of("The variety of the values in {first} (0 where all are the same; the entropy)"),
    "ColumnCorrelation": _figure_of("How far {both} go together, from -1 (opposite) over 0 (not at all) to 1 (fully),"),
    "ReferentialIntegrity": _referential,
    "RowCountMatch": _row_count_match,
    "SchemaMatch": _schema_match,
    "AggregateMatch": _aggregate_match,
    "DatasetMatch": _dataset_match,
    "DetectAnomalies": _anomalies,
    "FileFreshness": _files(_arrived),
    "FileSize": _files(lambda rule: f"{_must(rule.condition, plain_figure)} in size"),
    "FileMatch": _files(lambda _: "has to be one of those whose SHA-256 checksums the rule lists"),
    "FileUniqueness": _figure_of("The share of source files that are not copies of another", share),
    "AllStatistics": _fixed("Nothing is demanded of {first}: its figures are only recorded"),
    "Distribution": _fixed("Nothing is demanded of {first}: its figures are only recorded"),
}


def _names(rule: Rule) -> list[str]:
    return [_word(parameter.value) for parameter in rule.parameters]


def _first(rule: Rule) -> str:
    return next(iter(_names(rule)), "the dataset")


def _together(rule: Rule) -> str:
    names = _names(rule)
    return f"{alternatives(names, 'and')} together" if len(names) > 1 else _first(rule)


def _word(value: Text | Variable) -> str:
    return value.value if isinstance(value, Text) else f"${value.name}"


def _where(value: Text | Variable | None) -> str:
    return condition_in_words(value.value) if isinstance(value, Text) else _word(value or Text(""))


def _columns(text: str) -> str:
    """`a,b` as `a and b`; `a->b`, a column and its counterpart, as `a (there b)`."""
    pairs = [part.partition("->") for part in text.split(",")]
    return alternatives([f"{a.strip()} (there {b.strip()})" if b else a.strip() for a, _, b in pairs], "and")
