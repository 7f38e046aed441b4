"""A draft as the four files of a dataset's folder.

Texts that come from the file, its headers and the words of its closed lists, stand in quotes and brackets of the
format they are written into, or are left out; none becomes a part of it.
"""

import json
import re
from collections.abc import Iterator, Mapping

from city_platform.cleaning.recipe import MOST_STEPS, databrew_type
from city_platform.contracts.decisions import DRAFT, MARK, REVIEW
from city_platform.contracts.model import Classification, PartitionTransform
from city_platform.datasets import CONTRACT, CURATED, RECIPE, RULES
from city_platform.drafting.facts import DAY_FIRST, MONTH_FIRST
from city_platform.drafting.guess import Draft, DraftColumn

UNDECIDED = "undecided"  # a team's name and a place holder's host
_SUMMARISED = 2  # columns of closed lists
_SLACK = 0.05  # by which a later file may have fewer values than this one
_IN_A_NAME = re.compile("[^a-z0-9]+")


def folder_files(draft: Draft, timezone: str) -> Mapping[str, str]:
    """The files' texts by their names."""
    return {
        CONTRACT: _contract(draft, timezone),
        RECIPE: _recipe(draft),
        RULES: _rules(draft),
        CURATED: _curated(draft),
    }


def _title(draft: Draft) -> str:
    return draft.name.replace("_", " ").capitalize()


def _q(text: str) -> str:
    """A text in YAML's double quotes, which are JSON's."""
    quoted = json.dumps(text, ensure_ascii=False)
    # JSON leaves control characters of Unicode's second block as they are, which YAML does not allow.
    return re.sub("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]", lambda one: f"\\u{ord(one[0]):04x}", quoted)


def _word(name: str) -> str:
    """A name without quotes, except where YAML would read something else."""
    return _q(name) if name.casefold() in {"true", "false", "null"} else name


def _contract(draft: Draft, timezone: str) -> str:
    name, title = draft.name, _title(draft)
    facts = draft.facts
    lines = [
        f"# {title}: a contract drafted from {_comment(facts.file)}, {facts.rows:,} rows.",
        f"# Every text that begins with {MARK} is a question to a person; `city-platform datasets check` lists those",
        "# left. When none is, change the status to active, and the dataset is part of the platform.",
        "apiVersion: v3.2.0",
        "kind: DataContract",
        f"id: urn:city:dataset:{name}",
        f"name: {_word(name)}",
        "version: 0.1.0",
        f"status: {DRAFT}",
        f"domain: {_ask('which part of the city it belongs to, as licensing or transportation')}",
        "",
        "description:",
        f"  purpose: {_ask('what the data are for, and which questions they answer')}",
        f"  limitations: {_ask('what they do not say, and what readers get wrong')}",
        "",
        "authoritativeDefinitions:",
        "  - type: source",
        f"    url: https://{UNDECIDED}.invalid/",
        f"    description: {_ask('the address that the data come from, in the line above')}",
        "",
        "team:",
        f"  name: {UNDECIDED}",
        f"  description: {_ask('which team answers for the data, in the line above, and what for')}",
        "",
        "slaProperties:",
        "  - property: frequency",
        "    value: 1",
        "    unit: y",
        f"    description: {_ask('how often the source publishes; the line above says once a year')}",
        "  - property: latency",
        "    value: 400",
        "    unit: d",
        f"    description: {_ask('how old the newest data may be; the line above says 400 days')}",
        "",
        "customProperties:",
        "  - property: licence",
        f"    value: {_ask('under which licence the city publishes the data')}",
        "  - property: timezone",
        f"    value: {timezone}",
        f"  - property: {REVIEW}",
        f"    value: {_ask('do recipe.json, rules.dqdl and curated.sql say what is meant? They were drafted, too')}",
        "",
        "schema:",
        f"  - name: {_word(name)}",
        f"    businessName: {_q(title)}",
        "    logicalType: object",
        f"    dataGranularityDescription: {_ask('what one row is')}",
        *_schema_properties(draft),
        "    properties:",
    ]
    for column in draft.columns:
        lines += _property(draft, column)
    return "\n".join(lines).rstrip("\n") + "\n"


def _ask(question: str) -> str:
    return _q(f"{MARK} {question}")


def _schema_properties(draft: Draft) -> Iterator[str]:
    custom: list[tuple[str, str]] = []
    if not draft.key:
        why = (
            "no column and no two columns of the file tell its rows apart, so equal rows all count; why is that right?"
        )
        custom.append(("noPrimaryKey", _ask(why)))
    if draft.partition.header is None:
        custom.append(("partitionTransform", str(PartitionTransform.SNAPSHOT)))
        custom.append((REVIEW, _ask(draft.partition.why)))
    if custom:
        yield "    customProperties:"
        for name, value in custom:
            yield f"      - property: {name}"
            yield f"        value: {value}"


def _property(draft: Draft, column: DraftColumn) -> Iterator[str]:
    profile, rows = column.facts.profile, draft.facts.rows
    partitioned = column.header == draft.partition.header
    yield f"      - name: {_word(column.name)}"
    yield f"        physicalName: {_q(column.source_name)}"
    yield f"        logicalType: {column.logical_type}"
    yield f"        physicalType: {column.sql_type}"
    yield f"        classification: {column.classification}"
    if column.key_position or partitioned:
        yield "        required: true"
    if column.key_position:
        yield "        primaryKey: true"
        yield f"        primaryKeyPosition: {column.key_position}"
    if partitioned:
        yield "        partitioned: true"
        yield "        partitionKeyPosition: 1"
    filled = f"{profile.valid + profile.invalid:,} of {rows:,} rows have a value, {profile.distinct:,} are different"
    yield f"        description: {_ask(f'what it means ({filled})')}"
    yield "        customProperties:"
    if column.masking:
        yield f"          - {{property: masking, value: {column.masking}}}"
    why = list(column.why)
    if partitioned:
        yield f"          - {{property: partitionTransform, value: {draft.partition.transform}}}"
        if draft.partition.date_formats:
            yield f"          - {{property: dateFormats, value: {json.dumps(draft.partition.date_formats)}}}"
        yield f"          - {{property: firstYear, value: {draft.partition.first_year}}}"
        why.append(draft.partition.why)
    yield f"          - property: {REVIEW}"
    yield f"            value: {_ask('; '.join(why))}"
    yield ""


def _recipe(draft: Draft) -> str:
    steps: list[tuple[str, Mapping[str, str]]] = [
        ("RENAME", {"sourceColumn": one.source_name, "targetColumn": one.name})
        for one in draft.columns
        if one.name != one.source_name
    ]
    for one in draft.columns:
        steps += [("REPLACE_TEXT", {"sourceColumn": one.name, **step}) for step in _iso_dates(one.facts.slashed)]
    steps += [
        ("CHANGE_DATA_TYPE", {"sourceColumn": one.name, "columnDataType": databrew_type(one.sql_type)})
        for one in draft.columns
        if one.logical_type != "string"
    ]
    steps = [*_tidied(draft, MOST_STEPS - len(steps)), *steps]
    written = (json.dumps({"Action": {"Operation": name, "Parameters": of}}, ensure_ascii=False) for name, of in steps)
    return "[\n  " + ",\n  ".join(written) + "\n]\n"


def _tidied(draft: Draft, most: int) -> list[tuple[str, Mapping[str, str]]]:
    """Steps that remove stray spaces: where the file has some, and in all texts as far as a recipe has room."""
    how = {"collapseConsecutiveWhitespace": "true", "removeLeadingAndTrailingWhitespace": "true"}
    texts = [one for one in draft.columns if one.facts.stray_spaces or one.logical_type == "string"]
    if len(texts) > most:
        texts = [one for one in texts if one.facts.stray_spaces]
    return [("REMOVE_COMBINED", {"sourceColumn": one.source_name, **how}) for one in texts]


def _iso_dates(slashed: str | None) -> Iterator[Mapping[str, str]]:
    """Replacements that make yyyy-mm-dd of a date with slashes."""
    order = {MONTH_FIRST: "$3-$1-$2", DAY_FIRST: "$3-$2-$1"}.get(slashed or "")
    if order:
        yield {"pattern": "^([0-9])/", "value": "0$1/"}
        yield {"pattern": "/([0-9])/", "value": "/0$1/"}
        yield {"pattern": "^([0-9]{2})/([0-9]{2})/([0-9]{4})$", "value": order}


def _rules(draft: Draft) -> str:
    lists = [one for one in draft.columns if one.classification is Classification.PUBLIC and _list(one)]
    blocks = [
        ["# The year as a whole", 'RowCount > 0 labels=["action"="halt"]'],
        ["# Every row", *_row_rules(draft)],
        ["# Worth a look, and no reason to hold anything back: as the file was that the draft was made of"],
    ]
    for column in draft.columns:
        if column.header != draft.partition.header and not column.key_position:
            blocks[2] += _expectations(draft, column, closed=column in lists)
    last = [rule for _, *rules in blocks for rule in rules][-1]
    body = "\n".join(
        "".join([f"    {heading}\n", *(f"    {rule}{'' if rule is last else ','}\n" for rule in rules)])
        for heading, *rules in blocks
        if rules
    )
    return (
        f"# {_title(draft)}, one calendar year at a time. Drafted from {_comment(draft.facts.file)}.\n#\n"
        "# action=halt        closes the gate: nothing of the year is released while the rule fails\n"
        "# action=quarantine  moves the rows that fail to failed/ and releases the others\n"
        "# action=warn        records and shows\n\n"
        f'DefaultLabels = ["owner"="team:{UNDECIDED}"]\n\n'
        f"Rules = [\n{body}]\n"
    )


def _row_rules(draft: Draft) -> Iterator[str]:
    if draft.key:
        columns = " ".join(f'"{one.name}"' for one in draft.key)
        yield f'IsPrimaryKey {columns} labels=["action"="quarantine", "name"="key"]'
    partition = draft.column(draft.partition.header)
    if partition is not None and partition.logical_type in {"date", "timestamp"}:
        name = f"{_label(partition)}_not_in_future"
        yield f'ColumnValues "{partition.name}" <= (now() + 1 days) labels=["action"="quarantine", "name"="{name}"]'


def _expectations(draft: Draft, column: DraftColumn, *, closed: bool) -> Iterator[str]:
    """What held of the file, with room for another one."""
    profile, label = column.facts.profile, _label(column)
    share = profile.valid / draft.facts.rows if draft.facts.rows else 0.0
    if share == 1.0:
        yield f'Completeness "{column.name}" >= {1 - _SLACK} labels=["action"="warn", "name"="{label}_complete"]'
    if closed:
        values = ", ".join(f'"{value}"' for value in column.facts.values)
        rule = f'ColumnValues "{column.name}" in [{values}, NULL] with threshold >= 0.99'
        yield f'{rule} labels=["action"="warn", "name"="{label}_known"]'
    elif column.logical_type in {"integer", "number"} and profile.numbers is not None and profile.numbers.minimum >= 0:
        rule = f'ColumnValues "{column.name}" >= 0 where "{column.name} is not null" with threshold >= 0.99'
        yield f'{rule} labels=["action"="warn", "name"="{label}_not_negative"]'


def _list(column: DraftColumn) -> bool:
    """Whether the column's values can stand in a rule as they are."""
    values = column.facts.values
    return (
        column.logical_type == "string"
        and bool(values)
        and not any(re.search(r'["\\\x00-\x1f]', one) for one in values)
    )


def _label(column: DraftColumn) -> str:
    """The column's name as rules are named: first_date of FirstDate."""
    words = re.sub("(?<=[a-z0-9])(?=[A-Z])", "_", column.name).casefold()
    return _IN_A_NAME.sub("_", words).strip("_")


def _curated(draft: Draft) -> str:
    lists = [one for one in draft.columns if one.classification is Classification.PUBLIC and _list(one)][:_SUMMARISED]
    partition = draft.column(draft.partition.header)
    dated = partition is not None and partition.logical_type in {"date", "timestamp"}
    grouped: list[tuple[str, str, str]] = []
    if partition is not None and dated:
        month = f"CAST(date_trunc('month', {_sql(partition.name)}) AS DATE)"
        grouped.append((month, "Month", f"the first day of the month of {partition.name}"))
    grouped += [(_sql(one.name), one.name, f"as {one.name} says") for one in lists]
    selected = [*grouped, ("count(*)", "Rows", "how many rows")]
    of_what = f"{' in each month' if dated else ''}{' of each group' if lists else ''}"
    lines = [
        f"-- How many rows there are{of_what}. A draft: write here what people ask for.",
        "-- Reads `trusted`, the rows that passed the rules.",
        "SELECT",
    ]
    for place, (expression, name, remark) in enumerate(selected):
        comma = "," if place + 1 < len(selected) else ""
        lines.append(f'    {expression} AS "{name}"{comma} -- {remark}')
    lines.append("FROM trusted")
    if grouped:
        lines.append(f"GROUP BY {', '.join(expression for expression, _, _ in grouped)}")
    names = [f'"{name}" NULLS LAST' for _, name, _ in grouped] or ['"Rows"']
    return "\n".join([*lines, f"ORDER BY {', '.join(names)}"]) + "\n"


def _sql(name: str) -> str:
    return f'"{name}"'


def _comment(text: str) -> str:
    """A text that can stand in a comment's line."""
    return re.sub(r"[^\x20-\x7e\xa0-\ud7ff]", "?", text)[:200]
