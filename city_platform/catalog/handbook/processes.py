"""The page of ETL processes: what is done to each dataset's rows, from the recipes and the summaries."""

import re
from collections.abc import Iterator, Sequence

import sqlglot
from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB

from city_platform.catalog.describe import summary_comments
from city_platform.catalog.handbook.steps import steps_in_words
from city_platform.catalog.handbook.text import NOTICE, code, joined, plain, source_lines
from city_platform.catalog.lineage import CURATED, layer_lineage, trace
from city_platform.contracts.model import Contract, Partitioning
from city_platform.datasets import Dataset
from city_platform.markdown import table

_INTRODUCTION = """\
Every dataset is **extracted** as whole files, whose bytes stay as they are; **cleaned** by its recipe, in AWS Glue
DataBrew's steps; **checked** by its rules ([governance](governance.md)); and **loaded** as a summary of the rows that
passed. Columns of the summary are followed back to the source's own."""


def processes_page(datasets: Sequence[Dataset]) -> str:
    """A section a dataset."""
    lines = ["# ETL processes", "", NOTICE, "", _INTRODUCTION]
    for dataset in datasets:
        lines += ["", f"## {dataset.contract.title}", "", *_section(dataset)]
    return "\n".join(lines) + "\n"


def _section(dataset: Dataset) -> Iterator[str]:
    contract = dataset.contract
    yield f"{contract.purpose}"
    yield from ("", f"**Extract.** {_placed(contract.partitioning)}", "", *source_lines(contract), "")
    steps = list(steps_in_words(dataset.recipe.steps))
    version = dataset.recipe_version
    yield f"**Clean.** {len(dataset.recipe.steps)} steps; version in use: {version}. {_one_a_key(contract)}"
    yield ""
    yield from (f"{number}. {step}" for number, step in enumerate(steps, 1))
    yield from ("", f"**Load.** {_opening(dataset.curated_sql)}{_filters(dataset.curated_sql)}", "")
    yield _columns(dataset)


def _placed(partitioning: Partitioning) -> str:
    unit = partitioning.granularity
    if partitioning.source_name is None:
        return f"A file is a list as it was; its {unit} is that of the list."
    return f"A row's {unit} is read from {code(partitioning.source_name)}."


def _one_a_key(contract: Contract) -> str:
    if not contract.key:
        return "Rows have no key in the source, so none replaces another."
    key = joined(code(one.name) for one in contract.key)
    newest = f"the newest by {code(contract.latest_by)}" if contract.latest_by else "the one that landed last"
    return f"Of rows with equal {key} {newest} counts; the others are kept apart."


def _opening(sql: str) -> str:
    """The comment that the summary begins with."""
    comment = re.match(r"(?:--[^\n]*\n)+", sql)
    return " ".join(line.removeprefix("--").strip() for line in comment[0].splitlines()) if comment else ""


def _filters(sql: str) -> str:
    """The conditions under which rows are read, as the summary says so; those within an aggregate are its columns'."""
    found = sqlglot.parse_one(sql, dialect=DuckDB).find_all(exp.Where)
    reading = [one.this for one in found if not isinstance(one.parent, exp.Filter)]
    conditions = dict.fromkeys(code(one.sql(dialect=DuckDB, comments=False)) for one in reading)
    return f" Filters: {'; '.join(conditions)}." if conditions else ""


def _columns(dataset: Dataset) -> str:
    lineage = layer_lineage(dataset, CURATED)
    comments = summary_comments(dataset.curated_sql)
    rows = []
    for one in lineage.columns if lineage is not None else ():
        sources = joined(map(code, trace(dataset, CURATED, one.column))) or one.how
        masked = f" (masked: {one.masking})" if one.masking else ""
        rows.append([code(one.column), plain(comments.get(one.column, "")), sources + masked])
    return table(("column", "what it says", "made of the source's"), rows)
