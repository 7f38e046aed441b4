"""A business question: one SELECT over all trusted rows of a dataset, in `questions/<name>.sql`.

The first line is a comment that asks the question. A line `-- chart: A, B` asks for a line chart of the columns A and
B over the first column. The SELECT obeys the rules of `curated.sql`, reads no personal column, and is written so that
Amazon Athena understands it too: `Question.athena` is the same in Athena's words.
"""

import re
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, SqlglotError

from city_platform.contracts.curated import check_curated
from city_platform.contracts.model import Contract
from city_platform.errors import Finding

_CHART = re.compile(r"^-- chart: *(.+?) *$", re.MULTILINE)
# What Athena's engine does not know although its dialect lets it through.
_NOT_IN_ATHENA = (exp.Anonymous, exp.Median, exp.PercentileCont, exp.PercentileDisc)


@dataclass(frozen=True, slots=True)
class Question:
    """`columns` are the contract's that it reads, `charted` those of its answer that are drawn over the first."""

    name: str
    title: str
    sql: str
    columns: tuple[str, ...]
    charted: tuple[str, ...] = ()

    @property
    def athena(self) -> str:
        """The same question in Athena's SQL."""
        return sqlglot.transpile(self.sql, read="duckdb", write="athena", pretty=True)[0] + "\n"


def read_question(text: str, file: str, contract: Contract) -> tuple[Question | None, list[Finding]]:
    """The question in the file, or None and every mistake in it."""
    findings = check_curated(text, file, contract)
    title = text.partition("\n")[0].removeprefix("--").strip()
    if not text.startswith("-- ") or not title.endswith("?"):
        findings.append(
            Finding(file, 1, 1, "the first line does not ask the question", "write it as '-- How many ...?'")
        )
    if findings:
        return None, findings
    query = sqlglot.parse_one(text, dialect="duckdb")
    known = {column.name.casefold(): column for column in contract.columns}
    read = {one.name.casefold() for one in query.find_all(exp.Column)} & known.keys()
    for name in sorted(read):
        if known[name].personal:
            problem = f"the question reads the personal column {known[name].name}"
            findings.append(Finding(file, 1, 1, problem, "ask it of the other columns: answers are not masked"))
    findings += _for_athena(query, text, file)
    chart = _CHART.search(text)
    charted = tuple(one.strip() for one in chart[1].split(",")) if chart else ()
    answers = [one.alias_or_name for one in query.selects] if isinstance(query, exp.Query) else []
    for missing in (one for one in charted if one not in answers[1:]):
        line = text.count("\n", 0, chart.start() if chart else 0) + 1
        problem = f"the chart asks for '{missing}', which the answer does not have beside its first column"
        findings.append(Finding(file, line, 1, problem, f"write some of: {', '.join(answers[1:])}"))
    if findings:
        return None, findings
    columns = tuple(column.name for column in contract.columns if column.name.casefold() in read)
    name = file.rpartition("/")[2].removesuffix(".sql")
    return Question(name, title, text.rstrip().removesuffix(";"), columns, charted), []


def _for_athena(query: exp.Expr, text: str, file: str) -> list[Finding]:
    """What Athena would not understand."""
    remedy = "write it with functions that both know; a median with row_number(), a date with the data's own"
    for call in query.find_all(*_NOT_IN_ATHENA):
        name = call.name if isinstance(call, exp.Anonymous) else call.key
        line = next((number for number, one in enumerate(text.split("\n"), 1) if name.lower() in one.lower()), 1)
        return [Finding(file, line, 1, f"Athena has no {name}()", remedy)]
    try:
        query.sql(dialect="athena", unsupported_level=ErrorLevel.RAISE)
    except SqlglotError as error:
        return [Finding(file, 1, 1, f"the question cannot be put in Athena's SQL: {error}", remedy)]
    return []
