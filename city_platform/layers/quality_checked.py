"""Quality-checked: the cleaned rows split into passed and failed, and the verdict that opens or closes the gate.

`failed` holds the rows that fail a rule, with the rules and reasons; the passed rows are all others, read from the
cleaned files as the complement of `failed` (see `passed`).

Beside it the rejected rows' register: one entry for each row or value that did not make it, with the reason and
without the values, so that stewards see everything that was held back in one place.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from city_platform.datasets import Dataset
from city_platform.engines.duckdb import DuckDBSession
from city_platform.engines.session import Session
from city_platform.governance.decisions import to_json, waivers_in_force
from city_platform.governance.history import EvaluationHistory, EvaluationRecord
from city_platform.lake.lake import StagedFile
from city_platform.lake.manifest import Manifest
from city_platform.lake.sink import ParquetSink, workspace
from city_platform.layers.computing import computed, files_of
from city_platform.layers.passed import passed_rows
from city_platform.layers.platform import Platform
from city_platform.layers.preview import preview_of
from city_platform.layers.surroundings import CHECKED, RAW, Basis, basis_of
from city_platform.quality.declared import declared_rules
from city_platform.quality.evaluate import evaluate
from city_platform.quality.gate import Waiver
from city_platform.quality.results import Evaluation, RuleResult
from city_platform.quality.verdict import Verdict

LAYER, UPSTREAM, REGISTER = CHECKED, "cleaned", "rejected"
REVISION = "1"  # raise it when this module starts to write other rows from the same inputs

KEYS_SHOWN = 20
_FAILED = "failed-00000.parquet"
PASSED = "passed"
_ALL = "cleaned_rows"
REGISTER_SCHEMA = pa.schema(
    [
        ("_source", pa.int32()),
        ("_row", pa.int64()),
        ("stage", pa.string()),
        ("column_or_rule", pa.string()),
        ("reason", pa.string()),
    ]
)


def inputs(platform: Platform, dataset: Dataset, partition: str) -> Mapping[str, str] | None:
    """Cleaned version, rules, the waivers in force of the newest verdict, and the versions of what rules look at
    besides the rows; None while there is no cleaned data.

    So a waiver that is given, and one that expires, has the partition judged again: its checks say how it stands.
    """
    cleaned = platform.lake.latest(UPSTREAM, dataset.name, partition)
    if cleaned is None:
        return None
    judged = verdict_of(platform.lake.latest(LAYER, dataset.name, partition))
    waivers = waivers_in_force(platform.audit, judged, platform.clock.now())
    return _inputs(cleaned, dataset, waivers, basis_of(platform, dataset, partition).versions)


def _inputs(
    cleaned: Manifest, dataset: Dataset, waivers: Mapping[str, Waiver], rests_on: Mapping[str, str]
) -> Mapping[str, str]:
    numbers = sorted({waiver.number for waiver in waivers.values()})
    return {
        UPSTREAM: cleaned.version,
        "rules": dataset.ruleset_hash,
        "contract": dataset.contract_hash,
        "revision": REVISION,
        **({"waivers": " ".join(map(str, numbers))} if numbers else {}),
        **rests_on,
    }


def materialize(platform: Platform, dataset: Dataset, partition: str) -> tuple[Manifest, Manifest]:
    """Evaluates every rule, splits the rows, publishes the layer with its verdict, then the register.

    A failing verdict is a result, not an error: it is published, and the layers after this one refuse. Raises
    NotPublished without cleaned data.
    """
    lake, contract = platform.lake, dataset.contract
    cleaned = lake.require(UPSTREAM, dataset.name, partition)
    now = platform.clock.now()
    basis = basis_of(platform, dataset, partition)
    with workspace(lake) as folder, platform.engine.session() as session:
        judging = _Judging(platform, dataset, cleaned, basis, now)
        judged = computed(
            platform, session, cleaned.counts["rows"], lambda engine: judging.judged(engine, folder / _FAILED)
        )
        evaluation, advisory, failed, failed_rows = (
            judged.evaluation,
            judged.advisory,
            judged.failed,
            judged.failed_rows,
        )
        # Opened by the rules already, unless Spark read them where they lie.
        files = judged.files or lake.paths(cleaned, "rows")
        failed_paths = [file.path for file in failed]
        passed_relation(session, files, failed_paths)
        keys = _failed_keys(session, dataset, failed_paths)
        with ParquetSink(folder / "register.parquet", REGISTER_SCHEMA) as register:
            for batch in _register(session, cleaned, platform, failed_paths):
                register.write(batch)
            entries = register.finish()
        verdict = Verdict(
            dataset=dataset.name,
            partition=partition,
            data_version=cleaned.version,
            ruleset_hash=dataset.ruleset_hash,
            passed=evaluation.passed,
            evaluated_at=now,
            rows=evaluation.rows,
            rows_passed=evaluation.rows - failed_rows,
            rows_failed=failed_rows,
            results=evaluation.results,
            rests_on=basis.versions,
        )
        waivers = waivers_in_force(platform.audit, verdict, now)
        made_from = _inputs(cleaned, dataset, waivers, basis.versions)
        # Before the layer: an up-to-date layer has its evaluation in the history, whenever the process dies, and the
        # run after that finds it there and records nothing twice.
        EvaluationHistory(lake.store).record(_recorded(verdict, evaluation, advisory, judged.seconds))
        # The register first: a layer that is up to date has one, whenever the process dies.
        rejected = lake.publish(
            REGISTER,
            dataset.name,
            partition,
            inputs=made_from,
            parts={"rows": entries},
            counts={"rows": register.rows},
            schema=[(field.name, str(field.type)) for field in REGISTER_SCHEMA],
        )
        manifest = lake.publish(
            LAYER,
            dataset.name,
            partition,
            inputs=made_from,
            parts={"rows": cleaned.parts["rows"], "failed": failed},
            counts={
                "rows_in": cleaned.counts["rows"],
                "rows": evaluation.rows - failed_rows,
                "failed": failed_rows,
            },
            schema=cleaned.schema,
            preview=preview_of(session, PASSED, [column.name for column in contract.columns], contract),
            details={
                "verdict": verdict.to_json(),
                "advisory": {
                    name: [result.to_json() for result in outcome.results] for name, outcome in advisory.items()
                },
                "failed_keys": keys,
                "unmeasured": dict(evaluation.unmeasured),
                "waivers": {rule: to_json(waiver) for rule, waiver in waivers.items()},
            },
        )
    return manifest, rejected


@dataclass(frozen=True, slots=True)
class _Judged:
    """What the rules found, and the file of the rows that fail some rule, if any does."""

    evaluation: Evaluation
    advisory: Mapping[str, Evaluation]
    seconds: float
    failed: list[StagedFile]
    failed_rows: int
    files: Sequence[Path]  # the cleaned rows on this machine, none where they were read elsewhere


@dataclass(frozen=True, slots=True)
class _Judging:
    """The rules and the rows of one partition."""

    platform: Platform
    dataset: Dataset
    cleaned: Manifest
    basis: Basis
    now: datetime

    def judged(self, session: Session, path: Path) -> _Judged:
        """Evaluates every rule in a session and writes the failed rows."""
        lake, dataset = self.platform.lake, self.dataset
        files = files_of(session, lake, self.cleaned, "rows")
        session.view(_ALL, files)
        columns = {column.name: column.sql_type for column in dataset.contract.columns}
        raw = lake.latest(RAW, dataset.name, self.cleaned.partition)
        surroundings = self.basis.opened(session, lake, raw)
        here = [one for one in files if isinstance(one, Path)]
        started = time.monotonic()
        evaluation = evaluate(session, _ALL, dataset.rules, columns, self.now, surroundings, here)
        advisory = {
            name: evaluate(session, _ALL, ruleset, columns, self.now, surroundings, here)
            for name, ruleset in dataset.advisory
        }
        seconds = time.monotonic() - started
        failed, failed_rows = _write_failed(session, evaluation, dataset, path)
        return _Judged(evaluation, advisory, seconds, failed, failed_rows, here)


def passed_relation(session: Session, rows: Sequence[Path | str], failed: Sequence[Path | str]) -> None:
    """Makes the passed rows readable under the name `PASSED`."""
    session.select_view(PASSED, passed_rows(session, rows, failed))


def _recorded(
    verdict: Verdict, evaluation: Evaluation, advisory: Mapping[str, Evaluation], seconds: float
) -> EvaluationRecord:
    figures: dict[str, float] = {}
    for one in (evaluation, *advisory.values()):
        figures |= one.figures
    return EvaluationRecord(
        dataset=verdict.dataset,
        partition=verdict.partition,
        data_version=verdict.data_version,
        ruleset_hash=verdict.ruleset_hash,
        rests_on=verdict.rests_on,
        evaluated_at=verdict.evaluated_at,
        seconds=round(seconds, 3),
        rows=verdict.rows,
        rows_failed=verdict.rows_failed,
        results=verdict.results,
        advisory={name: one.results for name, one in advisory.items()},
        figures=figures,
    )


def verdict_of(manifest: Manifest | None) -> Verdict | None:
    """The verdict a quality-checked manifest carries."""
    return Verdict.from_json(manifest.details["verdict"]) if manifest else None


def advisory_results(manifest: Manifest) -> Mapping[str, Sequence[RuleResult]]:
    """What the advisory rulesets found, by the name of their file."""
    return {
        name: [RuleResult.from_json(body) for body in results] for name, results in manifest.details["advisory"].items()
    }


def _write_failed(
    session: Session, evaluation: Evaluation, dataset: Dataset, path: Path
) -> tuple[list[StagedFile], int]:
    """Writes the rows that fail some rule, in order, with the rules and the plain words for each; and their number."""
    if evaluation.failed_rules_sql is None:
        return [], 0
    # Spark gives rows in no order of its own; here the order is that of the file.
    in_order = " ORDER BY _source, _row" if session.reads_objects else ""
    reader = session.stream(
        f"SELECT *, {_reasons(session, dataset)} AS _reasons FROM (SELECT *, {evaluation.failed_rules_sql} AS "
        f"_failed_rules FROM {_ALL}) WHERE _failed_rules IS NOT NULL{in_order}"
    )
    with ParquetSink(path, reader.schema, even_empty=False) as failed:
        for batch in reader:
            failed.write(batch)
        return failed.finish(), failed.rows


def _reasons(session: Session, dataset: Dataset) -> str:
    """SQL for the plain words for each of a row's failed rules."""
    text = session.dialect.text
    words = "".join(
        f" WHEN {text(rule.settings.rule_id)} THEN {text(rule.explanation)}" for rule in declared_rules(dataset.rules)
    )
    return session.dialect.each("_failed_rules", "rule", f"CASE rule{words} END")


def _failed_keys(session: DuckDBSession, dataset: Dataset, failed: Sequence[Path]) -> Mapping[str, Sequence[str]]:
    """Up to `KEYS_SHOWN` primary keys for each rule that rows failed; never values of personal columns."""
    shown = [column.name for column in dataset.contract.key if not column.personal] or ["_source", "_row"]
    if not failed:
        return {}
    key = " || '/' || ".join(f"COALESCE({session.dialect.name(name)}::VARCHAR, '(none)')" for name in shown)
    found = session.rows(
        f"SELECT rule, list({key} ORDER BY _source, _row)[1:{KEYS_SHOWN}] "
        f"FROM (SELECT *, unnest(_failed_rules) AS rule FROM {session.parquet(failed)}) GROUP BY rule ORDER BY rule"
    )
    return dict(found)


def _register(
    session: DuckDBSession, cleaned: Manifest, platform: Platform, failed: Sequence[Path]
) -> pa.RecordBatchReader:
    """Every rejection of the partition: values not typed, rows removed or superseded, rows that failed rules."""

    kept_beside = {
        "untyped": "SELECT _source, _row, 'value not typed', \"column\", reason",
        "removed": "SELECT _source, _row, 'removed by recipe', NULL, _removed",
        "duplicates": "SELECT _source, _row, 'duplicate', NULL, 'a newer row has the same key'",
    }
    selects = ["SELECT NULL::INTEGER, NULL::BIGINT, NULL, NULL, NULL WHERE false"]
    for part, select in kept_beside.items():
        if files := platform.lake.paths(cleaned, part):
            selects.append(f"{select} FROM {session.parquet(files)}")
    if failed:
        each = "SELECT _source, _row, 'failed rule', unnest(_failed_rules), unnest(_reasons)"
        selects.append(f"{each} FROM {session.parquet(failed)}")
    names = ", ".join(session.dialect.name(name) for name in REGISTER_SCHEMA.names)
    # Without the casts a column of which no part says anything would have no type.
    casts = (
        "_source, _row, stage::VARCHAR AS stage, column_or_rule::VARCHAR AS column_or_rule, reason::VARCHAR AS reason"
    )
    return session.stream(
        f"SELECT {casts} FROM ({' UNION ALL '.join(selects)}) AS register({names}) "
        "ORDER BY _source, _row, stage, column_or_rule"
    )
