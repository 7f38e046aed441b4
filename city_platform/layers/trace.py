"""From a published figure to what it is made of: rows, rules, recipe, sources, keys and the versions of all of them.

A trace reads what was recorded when the figure was published, not what stands now: the version of the checked rows
that the table was made from, with its verdict, the cleaned version behind that, and so on to the sources.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from city_platform.catalog.lineage import CLEANED, ColumnLineage, LayerLineage, layer_lineage, query_lineage
from city_platform.catalog.provenance import NotNarrowable
from city_platform.contracts.model import Classification, Column
from city_platform.contracts.question import Question
from city_platform.datasets import Dataset
from city_platform.engines.duckdb import DuckDBSession
from city_platform.governance.decisions import read_decisions, to_json
from city_platform.governance.roles import is_member
from city_platform.lake.lake import NotPublished, VersionPruned, sha256_of
from city_platform.lake.manifest import Manifest
from city_platform.layers import CURATED, encrypted, quality_checked, questions
from city_platform.layers.curated import set_report_date
from city_platform.layers.origins import Origin, TracedFile, at_the_time, newest_before
from city_platform.layers.platform import Platform
from city_platform.layers.trace_rows import (
    FoundRows,
    NoSuchRow,
    Texts,
    Wanted,
    column_types,
    find_behind,
    find_row,
    find_total,
    open_places,
)
from city_platform.quality.gate import Waiver
from city_platform.quality.results import RuleResult

MOST_ROWS = 1_000
_NOT_ADDITIVE = re.compile(r"\b(AVG|MEDIAN|MAX|MIN|QUANTILE\w*|STDDEV\w*|VAR\w*)\(|DISTINCT|/|CASE|\bOVER\b")
_REASONS = 50  # kinds of rejections that are told of a partition


@dataclass(frozen=True, slots=True)
class TracedColumn:
    """A column of the table, what it is made of, and the recipe's steps that the values went through.

    `sql` is the table's own, or a word where nothing is calculated; `steps` is None where the recipe that cleaned the
    rows is not the one that stands in the dataset's folder.
    """

    name: str
    sql: str
    columns: tuple[str, ...]  # of the trusted rows
    source_columns: tuple[str, ...]
    masking: str
    steps: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class HeldBack:
    """Rows, or values, that did not make it: at which stage, by which rule or in which column, and why."""

    stage: str
    rule_or_column: str | None
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class TracedPartition:
    """Where the trusted rows of one partition come from. Times are aware; `waivers` are those that held then, and
    whether each holds now.
    """

    partition: str
    data_version: str  # of the cleaned rows
    ruleset_hash: str
    evaluated_at: datetime
    rows_in: int  # of the sources
    rows: int  # trusted
    held_back: tuple[HeldBack, ...] | None  # None: the register of then was pruned
    rules: tuple[RuleResult, ...]
    waivers: tuple[tuple[Waiver, bool], ...]
    recipe_version: str | None
    recipe_hash: str | None
    sources: tuple[TracedFile, ...]
    key_ids: Mapping[str, str]  # of the encrypted copy of exactly these rows; none where there is no such copy

    def to_json(self) -> Mapping[str, Any]:
        return {
            **{name: getattr(self, name) for name in ("partition", "data_version", "ruleset_hash", "rows_in", "rows")},
            "evaluated_at": self.evaluated_at.isoformat(),
            "held_back": None if self.held_back is None else [asdict(one) for one in self.held_back],
            "rules": [one.to_json() for one in self.rules],
            "waivers": [{**to_json(one), "in_force": in_force} for one, in_force in self.waivers],
            "recipe": {"version": self.recipe_version, "sha256": self.recipe_hash},
            "sources": [
                {**asdict(one), **{key: at and at.isoformat() for key, at in _times(one).items()}}
                for one in self.sources
            ],
            "key_ids": dict(self.key_ids),
        }


@dataclass(frozen=True, slots=True)
class TracedRow:
    """A row that was found, at its place: the file, and the row in it, counted from 0 as everywhere in the lake."""

    partition: str
    source: str
    row: int
    values: Texts


@dataclass(frozen=True, slots=True)
class Trace:
    """What one published table, row or figure is made of.

    `row` is the published one, None where the whole table was asked for; `column` names the figure in it. `found` are
    the trusted rows behind the row; where they could not be told, `not_narrowed` says why. `notes` are what the reader
    has to know besides. `run_id` is the orchestrator's, where it knows the run.
    """

    dataset: str
    title: str
    table: str  # curated, or the question's name
    partition: str
    version: str
    published_at: datetime
    files: tuple[tuple[str, str], ...]  # key in the lake, sha256
    damaged: tuple[str, ...]  # of the files that were read, the keys of those that have another sha256 now
    row: Texts | None
    total: bool  # it is the sum of `column` over all rows with the other values
    column: str | None
    columns: tuple[TracedColumn, ...]
    found: FoundRows | None
    not_narrowed: str
    shown: tuple[TracedRow, ...]
    withheld: tuple[str, ...]  # columns that are not shown to this reader
    removing_steps: tuple[str, ...] | None
    partitions: tuple[TracedPartition, ...]
    notes: tuple[str, ...]
    timezone: str
    run_id: str | None = None

    @property
    def borne_out(self) -> bool:
        """Whether nothing speaks against the figure. One that other rows decide, too, is not made again of its own."""
        found = self.found
        as_found = found is None or (found.reproduced and (not self.differing or bool(found.notes)))
        return as_found and not self.damaged

    @property
    def differing(self) -> tuple[str, ...]:
        """Columns in which the row, made again of the found rows alone, is another than the published one."""
        if self.row is None or self.found is None:
            return ()
        again = self.found.again or {}
        return tuple(name for name, value in self.row.items() if name not in again or again[name] != value)

    def to_json(self) -> Mapping[str, Any]:
        found = self.found
        return {
            "dataset": self.dataset,
            "table": self.table,
            "partition": self.partition,
            "version": self.version,
            "published_at": self.published_at.isoformat(),
            "run_id": self.run_id,
            "files": [{"key": key, "sha256": sha256} for key, sha256 in self.files],
            "damaged": list(self.damaged),
            "row": self.row,
            "total": self.total,
            "column": self.column,
            "figure": self.row[self.column] if self.row is not None and self.column else None,
            "columns": [asdict(one) for one in self.columns],
            "rows_behind": found
            and {
                "total": found.total,
                "by_partition": dict(found.rows),
                "counted": found.total if found.counted is None else found.counted,
                "counted_where": found.condition or None,
                "looked_at_beside": dict(found.beside),
                "filters": list(found.filters),
                "reproduced": found.reproduced,
                "recomputed": found.again,
                "differing": list(self.differing),
            },
            "not_narrowed": self.not_narrowed or None,
            "rows": [asdict(one) for one in self.shown],
            "columns_withheld": list(self.withheld),
            "steps_that_remove_rows": self.removing_steps,
            "partitions": [one.to_json() for one in self.partitions],
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class Asked:
    """What a reader wants to know: values by column that name the row, the figure's column, rows to see, and who asks.

    Of the rows the key is shown and what the table reads of them: to everybody public columns; to a member of the
    dataset's team, named by `reader`, internal ones too, and personal ones as they are masked in what is published.
    """

    where: Texts = field(default_factory=dict)
    column: str | None = None
    rows: int = 0
    reader: str | None = None
    total: bool = False  # the column's sum over all rows that `where` fits


def command(
    dataset: str,
    partition: str | None = None,
    question: str | None = None,
    where: Texts | None = None,
    column: str | None = None,
    *,
    total: bool = False,
) -> str:
    """What to type to trace a table, a row of it or a figure."""
    words = ["city-platform", "trace", dataset, *([partition] if partition else [])]
    words += ["--question", question] if question else []
    words += [word for name, value in (where or {}).items() for word in ("--where", f"{name}={value or ''}")]
    words += ["--column", column] if column else []
    return shlex.join([*words, *(["--total"] if total else [])])


def trace(platform: Platform, dataset: Dataset, partition: str, asked: Asked) -> Trace:
    """Of the published summary. Raises NotPublished, NoSuchRow, SeveralRows and NotMade."""
    published = platform.lake.require(CURATED, dataset.name, partition)
    checked = at_the_time(platform.lake, published, quality_checked.LAYER)
    changed = published.inputs["summary"] != dataset.curated_hash
    query = _Query(CURATED, dataset.curated_sql, "parquet", changed, "curated.sql")
    return _Tracing(platform, dataset, published, query, asked).trace([checked])


def trace_answer(platform: Platform, dataset: Dataset, name: str, asked: Asked) -> Trace:
    """Of a question's newest answers. Raises NoSuchRow where there is no such question, and what `trace` does."""
    known: Mapping[str, Question] = {one.name: one for one in dataset.questions}
    if name not in known:
        there = ", ".join(known) or "none"
        raise NoSuchRow(f"{dataset.name} has no question {name!r}; there are: {there}")
    published = platform.lake.latest(questions.LAYER, dataset.name, questions.EVERYTHING)
    if published is None or name not in published.parts:
        raise NotPublished(f"{dataset.name}/{name} has no answer yet: city-platform questions {dataset.name}")
    changed = published.inputs["questions"] != questions.asked_hash(dataset)
    query = _Query(name, known[name].sql, name, changed, f"questions/{name}.sql")
    versions = [
        at_the_time(platform.lake, published, quality_checked.LAYER, year, published.inputs[year])
        for year in published.details["years"]
    ]
    return _Tracing(platform, dataset, published, query, asked).trace(versions)


@dataclass(frozen=True, slots=True)
class _Query:
    """What made a table: its SQL as it stands now, the manifest's part with the rows, and whether it has changed."""

    name: str
    sql: str
    part: str
    changed: bool
    file: str


@dataclass(frozen=True, slots=True)
class _Tracing:
    platform: Platform
    dataset: Dataset
    published: Manifest
    query: _Query
    asked: Asked

    def trace(self, versions: Sequence[Manifest]) -> Trace:
        lake, contract, asked = self.platform.lake, self.dataset.contract, self.asked
        published, query = self.published, self.query
        notes: list[str] = []
        origins = [Origin.of(lake, checked) for checked in versions]
        partitions = tuple(self._partition(one) for one in origins)
        found: FoundRows | None = None
        not_narrowed = ""
        member = asked.reader is not None and is_member(contract, asked.reader, self.platform.clock.now())
        if asked.reader is not None and not member:
            notes.append(f"{asked.reader} is not of the dataset's team: only public columns of the rows are shown")
        read = {one.name for one in contract.key} | set(self._lineage.rows)
        told = [one for one in contract.columns if one.name in read]
        readable = [one for one in told if member or one.classification is Classification.PUBLIC]
        with self.platform.engine.session() as session:
            files = [one for one in lake.paths(published, query.part) if one.suffix == ".parquet"]
            types = column_types(session, session.parquet(files))
            column = _known(types, asked.column)
            wanted: Wanted | None = None
            if asked.total:
                wanted = find_total(session, files, asked.where, self._additive(column))
            elif asked.where or column is not None or published.parts[query.part][0].rows == 1:
                naming = [one.column for one in self._lineage.columns if not one.aggregated and one.column in types]
                wanted, times = find_row(session, files, asked.where, naming)
                if times > 1:
                    notes.append(f"the table has this row {times} times: the rows behind all of them are told")
            if wanted is None:
                not_narrowed = "no row was named (--where COLUMN=VALUE), and so the whole table is told"
            elif query.changed:
                not_narrowed = f"{query.file} is another than the one that made this version: make it again, then trace"
            else:
                try:
                    found = self._found(session, origins, wanted, column, readable)
                    notes += found.notes
                except (NotNarrowable, VersionPruned) as error:
                    not_narrowed = str(error)
        if published.inputs.get("contract", self.dataset.contract_hash) != self.dataset.contract_hash:
            notes.append("the contract has changed since: columns and masking are told as they stand now")
        return Trace(
            dataset=self.dataset.name,
            title=contract.title,
            table=query.name,
            partition=published.partition,
            version=published.version,
            published_at=published.published_at,
            files=tuple((one.key, one.sha256) for one in _files(published, query)),
            damaged=tuple(
                one.key
                for one in published.parts[query.part]
                if sha256_of(lake.store.local_path(one.key)) != one.sha256
            ),
            row=wanted.row if wanted else None,
            total=asked.total,
            column=column,
            columns=self._columns(column, origins) if not query.changed else (),
            found=found,
            not_narrowed=not_narrowed,
            shown=tuple(_placed(one.partition, origins, one.source, one.row, one.values) for one in found.shown)
            if found
            else (),
            withheld=tuple(one.name for one in told if one not in readable),
            removing_steps=self._steps(self._cleaning.row_steps, origins),
            partitions=partitions,
            notes=tuple(dict.fromkeys(notes)),
            timezone=contract.timezone,
        )

    def _found(
        self,
        session: DuckDBSession,
        origins: Sequence[Origin],
        wanted: Wanted,
        column: str | None,
        readable: Sequence[Column],
    ) -> FoundRows:
        open_places(self.platform, self.dataset, session, [one.checked for one in origins])
        if self.query.name == CURATED:
            (origin,) = origins
            set_report_date(session, self.dataset, newest_before(self.platform.lake, origin.raw, self.published))
        return find_behind(
            session,
            [one.checked.partition for one in origins],
            self.query.sql,
            wanted,
            column=column,
            limit=min(self.asked.rows, MOST_ROWS),
            readable=readable,
        )

    def _additive(self, column: str | None) -> str:
        """The column, if figures of several rows may be added; raises NoSuchRow."""
        if column is None:
            raise NoSuchRow("a total is of one column: name it")
        made = next((one for one in self._lineage.columns if one.column == column), None)
        counted = made is not None and made.how == "number of rows"
        if made is None or (not counted and (not made.aggregated or _NOT_ADDITIVE.search(made.how))):
            raise NoSuchRow(f"{column} is no count and no sum: the figures of several rows cannot be added up")
        return column

    @property
    def _lineage(self) -> LayerLineage:
        if self.query.name == CURATED:
            found = layer_lineage(self.dataset, CURATED)  # worked out once for many traces
            assert found is not None  # noqa: S101 -- every dataset has it
            return found
        return query_lineage(self.query.sql, self.dataset.contract)

    @property
    def _cleaning(self) -> LayerLineage:
        found = layer_lineage(self.dataset, CLEANED)
        assert found is not None  # noqa: S101 -- every dataset has it
        return found

    def _columns(self, column: str | None, origins: Sequence[Origin]) -> tuple[TracedColumn, ...]:
        """What the asked column is made of, or every column."""
        before: Mapping[str, ColumnLineage] = {one.column: one for one in self._cleaning.columns}
        return tuple(
            TracedColumn(
                name=one.column,
                sql=one.how,
                columns=one.sources,
                source_columns=tuple(dict.fromkeys(source for name in one.sources for source in before[name].sources)),
                masking=one.masking,
                steps=self._steps(sorted({step for name in one.sources for step in before[name].steps}), origins),
            )
            for one in self._lineage.columns
            if column is None or one.column == column
        )

    def _steps(self, positions: Sequence[int], origins: Sequence[Origin]) -> tuple[str, ...] | None:
        """The steps in words; None where other steps cleaned the rows than stand in the folder."""
        hashes = {(one.cleaned.details.get("recipe") or {}).get("hash") for one in origins}
        if hashes - {self.dataset.recipe.hash}:
            return None
        return tuple(self.dataset.recipe.steps[position - 1].description for position in positions)

    def _partition(self, origin: Origin) -> TracedPartition:
        checked = origin.checked
        verdict = quality_checked.verdict_of(checked)
        assert verdict is not None  # noqa: S101 -- every checked version has one
        recipe = origin.cleaned.details.get("recipe") or {}
        sealed = self.platform.lake.latest(encrypted.LAYER, self.dataset.name, checked.partition)
        same = sealed is not None and sealed.inputs[quality_checked.LAYER] == checked.version
        now = self.platform.clock.now()
        held = {int(one["number"]) for one in checked.details["waivers"].values()}
        decided = read_decisions(self.platform.audit).about(self.dataset.name, checked.partition).waivers
        return TracedPartition(
            partition=checked.partition,
            data_version=verdict.data_version,
            ruleset_hash=verdict.ruleset_hash,
            evaluated_at=verdict.evaluated_at,
            rows_in=origin.raw.counts["rows"],
            rows=checked.counts["rows"],
            held_back=self._held_back(checked),
            rules=tuple(verdict.results),
            waivers=tuple((one, one.in_force(now)) for one in decided if one.number in held),
            recipe_version=recipe.get("version"),
            recipe_hash=recipe.get("hash"),
            sources=origin.sources,
            key_ids={
                name.removeprefix("key id/"): one for name, one in encrypted.key_ids(sealed).items()
            } if sealed is not None and same else {},
        )  # fmt: skip

    def _held_back(self, checked: Manifest) -> tuple[HeldBack, ...] | None:
        lake = self.platform.lake
        registers = [
            one
            for one in lake.history(quality_checked.REGISTER, self.dataset.name, checked.partition)
            if one.inputs == checked.inputs
        ]
        try:
            paths = lake.paths(registers[-1], "rows") if registers else ()
        except VersionPruned:
            paths = ()
        if not paths:
            return None
        with self.platform.engine.session() as session:
            files = session.parquet(paths)
            found = session.rows(
                f"SELECT stage, column_or_rule, reason, count(*) FROM {files} GROUP BY ALL ORDER BY ALL "
                f"LIMIT {_REASONS}"
            )
        return tuple(HeldBack(*one) for one in found)


def _placed(partition: str, origins: Sequence[Origin], source: int, row: int, values: Texts) -> TracedRow:
    """Under the name of its file; rows of several exports were numbered through."""
    origin = next(one for one in origins if one.checked.partition == partition)
    if not origin.exported:
        return TracedRow(partition, origin.sources[source].name, row, values)
    for file in origin.sources:
        if row < file.rows:
            return TracedRow(partition, file.name, row, values)
        row -= file.rows
    raise AssertionError("a row behind the last of its exports")


def _times(file: TracedFile) -> Mapping[str, datetime | None]:
    return {"landed_at": file.landed_at, "fetched_at": file.fetched_at}


def _files(published: Manifest, query: _Query) -> Sequence[Any]:
    return published.files if query.name == CURATED else published.parts[query.part]


def _known(types: Mapping[str, str], column: str | None) -> str | None:
    """The column's own spelling; raises NoSuchRow for one that the table does not have."""
    if column is None:
        return None
    for name in types:
        if name.casefold() == column.casefold():
            return name
    raise NoSuchRow(f"there is no column {column!r}; there are: {', '.join(types)}")


__all__ = ["Asked", "HeldBack", "Trace", "TracedColumn", "TracedPartition", "command", "trace", "trace_answer"]
