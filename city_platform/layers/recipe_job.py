"""A recipe run on one file, without the lake, as a DataBrew recipe job does it.

Rows may be grouped, pivoted and unpivoted here, which a dataset's recipe may not: nobody follows the rows of a job.
With a dataset, its contract names the columns, and personal ones are masked before the first step as `curated.sql`
sees them, so that no recipe can bring out what is personal. Without one nothing is known of the columns.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from city_platform.cleaning.compile import steps_select
from city_platform.cleaning.job import Stage, read_job, read_stages
from city_platform.cleaning.recipe import Step
from city_platform.cleaning.steps.reshaping import MOST_PIVOTED, columns_after, repeated, reshaping_select
from city_platform.contracts.model import Classification, Column
from city_platform.datasets import Dataset
from city_platform.engines.duckdb import DuckDBEngine, DuckDBSession
from city_platform.errors import InvalidDefinition, PermanentError
from city_platform.ingestion.headers import BreakingDrift, match_headers
from city_platform.ingestion.text_rows import TextRows, text_rows
from city_platform.ingestion.unpacking import create_private
from city_platform.lake.sink import ParquetSink
from city_platform.layers.curated import write_csv
from city_platform.layers.platform import Platform
from city_platform.protection.classification import master_key
from city_platform.protection.keyed import register_keyed
from city_platform.protection.masking import masked_select, needs_pseudonyms, pseudonym_key, register_pseudonym

FORMATS = (".csv", ".parquet")

_ROW = Column("_row", "_row", (), "integer", "VARCHAR", Classification.PUBLIC, "", False, False, None, None, 0)


class NotApplicable(PermanentError):
    """The recipe cannot be run on this file."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of the file. A step that reshapes makes `rows` of the rows that no step removed before."""

    rows_in: int
    rows: int
    unreadable_lines: int
    unreadable: Sequence[str]  # in words
    removed: int  # rows that steps removed
    untyped: Mapping[str, int]  # column -> values that could not be given its type, and are missing in the result
    columns: Mapping[str, str]  # with their SQL types
    masked: Sequence[str]  # personal columns, by their source names

    def to_json(self) -> Mapping[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def apply_recipe(
    recipe: str,
    name: str,
    file: Path,
    out: Path,
    *,
    timezone: str,
    of: tuple[Platform, Dataset] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Applied:
    """Runs the recipe's text, from a file of that name, over a CSV, JSON lines or xlsx file; writes `out` whole or not.

    `out` ends in one of `FORMATS` and is readable by its owner alone. `timezone` is that of times without an offset,
    unless a dataset's contract says it. Raises InvalidDefinition with every mistake up to the next PIVOT, whose columns
    depend on the data; UnreadableSource, BreakingDrift and NotApplicable for the file; OSError where
    a file cannot be read or written.
    """
    nodes, findings = read_job(recipe, name)
    if findings:
        raise InvalidDefinition(findings)
    with TemporaryDirectory(prefix="recipe-") as folder, DuckDBEngine(Path(folder)).session() as session:
        read = text_rows(file, Path(folder), progress)
        relation, sources, masked = _source(session, read, file.name, of)
        job = _Job(session, Path(folder), of, of[1].contract.timezone if of else timezone)
        columns: Mapping[str, str] = dict.fromkeys(sources, "VARCHAR")
        start = 0
        while True:
            stages, findings = read_stages(nodes, start, name, columns)
            if findings:
                raise InvalidDefinition(findings)
            for stage in stages:
                done = job.run(stage, relation)
                if stage.reshaping is not None:
                    relation, columns = job.reshape(stage.reshaping, stage.outputs, done)
                    start = stage.reshaping.position
            if stages[-1].reshaping is None:
                break
        with all_or_nothing(out) as unfinished:
            rows = _write(session, done, stage.outputs, unfinished)
        return Applied(
            read.rows, rows, read.unreadable_lines, read.unreadable, job.removed, job.untyped, stage.outputs, masked
        )


class _Job:
    """The stages as they run, each into a file of its own, and what they counted."""

    def __init__(
        self, session: DuckDBSession, folder: Path, of: tuple[Platform, Dataset] | None, timezone: str
    ) -> None:
        self.session, self.folder, self.of, self.timezone = session, folder, of, timezone
        self.removed, self.untyped = 0, dict[str, int]()
        self.keyed: str | None = None
        self.stages = 0

    def run(self, stage: Stage, relation: str) -> str:
        """The rows that the steps keep, under the stage's outputs, as a relation."""
        session, dialect = self.session, self.session.dialect
        if any(step.operation.needs_secret for step in stage.steps) and self.keyed is None:
            if self.of is None:
                step = next(step for step in stage.steps if step.operation.needs_secret)
                problem = f"recipe step {step.position}, {step.operation.name}, works under the secret of a dataset"
                raise NotApplicable(f"{problem}: say which with --dataset")
            self.keyed = register_keyed(session, _key(*self.of))
        select = steps_select(
            stage.steps, stage.columns, stage.outputs, dialect, relation, timezone=self.timezone, keyed=self.keyed
        )
        file = create_private(self.folder / f"stage-{self.stages}.parquet")
        self.stages += 1
        session.execute(
            f"COPY (SELECT * FROM ({select}) ORDER BY _row) TO {dialect.text(str(file))} "
            "(FORMAT parquet, COMPRESSION lz4, USE_TMP_FILE false)"
        )
        rows = session.parquet([file])
        self.removed += session.rows(f"SELECT count(_removed) FROM {rows}")[0][0]
        kept = f"(FROM {rows} WHERE _removed IS NULL)"
        failed = f'SELECT unnest(_untyped)."column" AS name FROM {kept} WHERE _untyped IS NOT NULL'
        for column, count in session.rows(f"SELECT name, count(*) FROM ({failed}) GROUP BY name ORDER BY name"):
            self.untyped[column] = self.untyped.get(column, 0) + count
        return kept

    def reshape(self, step: Step, columns: Mapping[str, str], relation: str) -> tuple[str, Mapping[str, str]]:
        """The relation after a step that reshapes, all text, and its columns with the types they were given."""
        name, parameters = step.operation.name, step.parameters
        pivoted = self._pivoted(step, relation) if name == "PIVOT" else ()
        after = columns_after(name, parameters, columns, pivoted)
        if twice := repeated([column for column, _ in after]):
            raise NotApplicable(
                f"recipe step {step.position}, {name}, makes columns of one name, upper and lower case being the same: "
                f"{', '.join(twice)}; map these values of {parameters['sourceColumn']} to others before"
            )
        sql = reshaping_select(name, parameters, columns, self.session.dialect, relation, pivoted)
        return f"({sql})", dict(after)

    def _pivoted(self, step: Step, relation: str) -> list[str | None]:
        """The values of the column to pivot, in their order, a missing one last."""
        source = step.parameters["sourceColumn"]
        column = self.session.dialect.name(source)
        query = f"SELECT DISTINCT {column} AS value FROM {relation} ORDER BY value NULLS LAST LIMIT {MOST_PIVOTED + 1}"
        found = self.session.rows(f"SELECT CAST(value AS VARCHAR) FROM ({query})")
        if not 0 < len(found) <= MOST_PIVOTED:
            many = f"more than {MOST_PIVOTED} different values" if found else "no rows"
            raise NotApplicable(
                f"recipe step {step.position}, PIVOT on {source}, found {many}; DataBrew makes columns of 1 to "
                f"{MOST_PIVOTED}: filter or map the values before"
            )
        return [row[0] for row in found]


def _source(
    session: DuckDBSession, read: TextRows, file: str, of: tuple[Platform, Dataset] | None
) -> tuple[str, Sequence[str], Sequence[str]]:
    """The file's rows as text with `_row`, the columns that steps may name, and those of them that are masked."""
    name = session.dialect.name
    if reserved := [one for one in read.names if one.casefold() == _ROW.name]:
        raise NotApplicable(f"{file}: {', '.join(reserved)} is a name the platform itself uses; rename the column")
    rows = f"(SELECT row_number() OVER () - 1 AS _row, * FROM {session.parquet([read.file])})"
    if of is None:
        return rows, read.names, ()
    contract = of[1].contract
    match = match_headers(read.names, contract)
    if match.breaking:
        raise BreakingDrift(file, contract.name, match.drift)
    # The masks read what a file holds: text.
    texts = replace(contract, columns=(_ROW, *(replace(column, sql_type="VARCHAR") for column in contract.columns)))
    carried = ", ".join(
        f"{name(match.present[column.source_name]) if column.source_name in match.present else 'NULL::VARCHAR'} "
        f"AS {name(column.name)}"
        for column in contract.columns
    )
    session.execute(f"CREATE TEMP VIEW source AS SELECT _row, {carried} FROM {rows}")
    pseudonym = register_pseudonym(session, _key(*of)) if needs_pseudonyms(contract) else None
    masked = masked_select(texts, session.dialect, "source", pseudonym)
    back = ", ".join(f"{name(column.name)} AS {name(column.source_name)}" for column in contract.columns)
    personal = [column.source_name for column in contract.columns if column.personal]
    return f"(SELECT _row, {back} FROM ({masked}))", [column.source_name for column in contract.columns], personal


def _key(platform: Platform, dataset: Dataset) -> bytes:
    platform.keys.ensure(master_key(dataset.name, Classification.PERSONAL))
    return pseudonym_key(platform.keys, platform.lake.store, dataset.name)


def _write(session: DuckDBSession, relation: str, columns: Mapping[str, str], out: Path) -> int:
    """The result without what stood beside it; returns its rows."""
    if out.suffix == ".csv":
        return write_csv(session, relation, {name: kind == "VARCHAR" for name, kind in columns.items()}, out)
    reader = session.stream(f"SELECT {', '.join(map(session.dialect.name, columns))} FROM {relation}")
    with ParquetSink(out, reader.schema, compression="snappy") as sink:
        for batch in reader:
            sink.write(batch)
        sink.finish()
    return sink.rows


@contextmanager
def all_or_nothing(out: Path) -> Iterator[Path]:
    """A file to write that becomes `out` at the end and vanishes if anything goes wrong."""
    unfinished = out.with_name(f".{uuid.uuid4().hex}.unfinished{out.suffix}")
    try:
        yield unfinished
        unfinished.replace(out)
    finally:
        unfinished.unlink(missing_ok=True)
