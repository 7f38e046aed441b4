"""Queries in Athena: the datasets' questions and what dashboards show, over the tables of the catalog.

`trusted` is the table of the encrypted layer: it is written of rows that passed their rules and behind an open gate
alone, and its public columns are readable without a key. What reads another column cannot be asked here. `curated` is
the published summary.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from city_platform.aws.catalog import PREFIX
from city_platform.catalog.describe import partition_key
from city_platform.contracts.curated import RELATION
from city_platform.contracts.model import Classification
from city_platform.datasets import Dataset
from city_platform.deployment.analytics.tables import layer_schema
from city_platform.deployment.cloudformation import Resource, logical_name, ref, sub
from city_platform.engines.dialect import DuckDBDialect
from city_platform.errors import Finding, InvalidDefinition

CURATED = "curated"
LAYERS: Mapping[str, str] = {RELATION: "encrypted", CURATED: "curated"}  # a query's relation -> the layer it is
_CHART = "-- chart:"


@dataclass(frozen=True, slots=True)
class Query:
    """One question to a dataset's tables. `sql` is DuckDB's over the catalog's tables, `athena` the same in Athena's.

    `columns` are those of the answer, with their types in DuckDB's words; `charted` those drawn over the first.
    """

    dataset: str
    name: str
    title: str
    sql: str
    columns: Mapping[str, str]
    charted: tuple[str, ...] = ()

    @property
    def athena(self) -> str:
        return sqlglot.transpile(self.sql, read="duckdb", write="athena", pretty=True)[0] + "\n"


def questions(datasets: Sequence[Dataset]) -> list[Query]:
    """The datasets' questions that read public columns alone."""
    with warehouse(datasets) as connection:
        return [
            _query(connection, dataset, question.name, question.title, question.sql, question.charted)
            for dataset in datasets
            for question in dataset.questions
            if question.name not in encrypted_questions(dataset)
        ]


def encrypted_questions(dataset: Dataset) -> Mapping[str, Sequence[str]]:
    """The questions that read columns which are encrypted in the table, with these columns."""
    public = {column.name for column in dataset.contract.columns if column.classification is Classification.PUBLIC}
    read = {question.name: [name for name in question.columns if name not in public] for question in dataset.questions}
    return {name: columns for name, columns in read.items() if columns}


def dashboard_queries(folder: Path, datasets: Sequence[Dataset]) -> list[Query]:
    """What `folder` holds as DATASET/NAME.sql beside the questions; raises InvalidDefinition.

    A file is written like a question, and may read `curated` beside `trusted`.
    """
    known = {dataset.name: dataset for dataset in datasets}
    found: list[Query] = []
    findings: list[Finding] = []
    with warehouse(datasets) as connection:
        for file in sorted(folder.glob("*/*.sql")):
            place, text = f"{folder.name}/{file.parent.name}/{file.name}", file.read_text("utf-8")
            title, charted = _heading(text)
            if file.parent.name not in known:
                findings.append(Finding(place, 0, 0, f"there is no dataset {file.parent.name}", "name its folder so"))
            elif not title.endswith("?"):
                problem = "the first line does not ask the question"
                findings.append(Finding(place, 1, 1, problem, "write it as '-- How many ...?'"))
            else:
                try:
                    query = _query(connection, known[file.parent.name], file.stem, title, text, charted)
                except (duckdb.Error, SqlglotError) as error:
                    findings.append(Finding(place, 1, 1, str(error).partition("\n")[0], "correct the query"))
                    continue
                found.append(query)
                for name in (one for one in charted if one not in list(query.columns)[1:]):
                    problem = f"the chart asks for '{name}', which the answer does not have beside its first column"
                    findings.append(Finding(place, 1, 1, problem, f"write some of: {', '.join(query.columns)}"))
    if findings:
        raise InvalidDefinition(findings)
    return found


def _heading(text: str) -> tuple[str, tuple[str, ...]]:
    title = text.partition("\n")[0].removeprefix("--").strip()
    charts = [line.removeprefix(_CHART) for line in text.splitlines() if line.startswith(_CHART)]
    return title, tuple(name.strip() for line in charts for name in line.split(","))


def _query(
    connection: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    name: str,
    title: str,
    text: str,
    charted: tuple[str, ...],
) -> Query:
    """Raises duckdb.Error for what the tables do not have, encrypted columns included."""
    sql = over_tables(text, dataset.name)
    described = connection.execute(f"DESCRIBE {sql}").fetchall()
    columns = {str(row[0]): str(row[1]) for row in described}
    return Query(dataset.name, name, title, sql, columns, charted)


def over_tables(text: str, dataset: str) -> str:
    """The query with the catalog's tables in the places of `trusted` and `curated`, in DuckDB's SQL."""
    query = sqlglot.parse_one(text, dialect="duckdb")
    for table in list(query.find_all(exp.Table)):
        if not table.db and table.name.casefold() in LAYERS:
            real = exp.to_table(f"{PREFIX}{LAYERS[table.name.casefold()]}.{dataset}")
            table.replace(exp.alias_(real, table.alias or table.name, table=True))
    query.comments = []
    return query.sql("duckdb")


@contextmanager
def warehouse(datasets: Sequence[Dataset]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database with the tables that queries read, empty: of the encrypted layer the public columns alone."""
    dialect = DuckDBDialect()
    with duckdb.connect(config={"threads": 1, "autoinstall_known_extensions": False}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for layer in LAYERS.values():
            connection.execute(f"CREATE SCHEMA {PREFIX}{layer}")
            for dataset in datasets:
                columns = readable(dataset, layer)
                listed = ", ".join(f"{dialect.name(name)} {kind}" for name, kind in columns.items())
                connection.execute(f"CREATE TABLE {PREFIX}{layer}.{dialect.name(dataset.name)} ({listed})")
        yield connection


def readable(dataset: Dataset, layer: str) -> Mapping[str, str]:
    """The columns that a reader without any key gets, with their types in DuckDB's words, and the partition's."""
    columns = dict(layer_schema(dataset, layer))
    if layer == LAYERS[RELATION]:
        public = {one.name for one in dataset.contract.columns if one.classification is Classification.PUBLIC}
        columns = {name: kind for name, kind in columns.items() if name in public}
    key = partition_key(dataset.contract, layer_schema(dataset, layer)).name
    return {**columns, key: "VARCHAR"}


def named_query(query: Query) -> Resource:
    """The query as analysts find it in Athena's console."""
    return Resource(
        logical_name(query.dataset, query.name, "query"),
        "AWS::Athena::NamedQuery",
        {
            "Name": sub(f"${{Project}}-${{Environment}}-{query.dataset}-{query.name}"),
            "Description": query.title,
            "Database": ref(logical_name(LAYERS[RELATION], "database")),
            "WorkGroup": ref("WorkGroup"),
            "QueryString": query.athena,
        },
    )
