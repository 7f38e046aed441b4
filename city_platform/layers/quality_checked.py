"""Quality-checked: the cleaned rows split into passed and failed, and the verdict that opens or closes the gate.

Beside it the rejected rows' register: one entry for each row or value that did not make it, with the reason and
without the values, so that stewards see everything that was held back in one place.
"""

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from city_platform.contracts.folder import Dataset
from city_platform.engines.duckdb import Session
from city_platform.lake.manifest import Manifest
from city_platform.lake.sink import ParquetSink, workspace
from city_platform.layers.platform import Platform
from city_platform.layers.preview import preview_of
from city_platform.quality.declared import declared_rules
from city_platform.quality.evaluate import evaluate
from city_platform.quality.results import RuleResult
from city_platform.quality.verdict import Verdict

LAYER, UPSTREAM, REGISTER = "quality_checked", "cleaned", "rejected"
REVISION = "1"  # raise it when this module starts to write other rows from the same inputs

KEYS_SHOWN = 20
_RELATION = "cleaned_rows"
_REGISTER = pa.schema(
    [
        ("_source", pa.int32()),
        ("_row", pa.int64()),
        ("stage", pa.string()),
        ("column_or_rule", pa.string()),
        ("reason", pa.string()),
    ]
)


def inputs(platform: Platform, dataset: Dataset, partition: str) -> Mapping[str, str] | None:
    """Cleaned version and rules; None while there is no cleaned data."""
    cleaned = platform.lake.latest(UPSTREAM, dataset.name, partition)
    return _inputs(cleaned, dataset) if cleaned else None


def _inputs(cleaned: Manifest, dataset: Dataset) -> Mapping[str, str]:
    return {
        UPSTREAM: cleaned.version,
        "rules": dataset.ruleset_hash,
        "contract": dataset.contract_hash,
        "revision": REVISION,
    }


def materialize(platform: Platform, dataset: Dataset, partition: str) -> tuple[Manifest, Manifest]:
    """Evaluates every rule, splits the rows, publishes the layer with its verdict, then the register.

    A failing verdict is a result, not an error: it is published, and the layers after this one refuse. Raises
    NotPublished without cleaned data.
    """
    lake, contract = platform.lake, dataset.contract
    cleaned = lake.require(UPSTREAM, dataset.name, partition)
    now = platform.clock.now()
    with workspace(lake) as folder, platform.engine.session() as session:
        session.view(_RELATION, lake.paths(cleaned, "rows"))
        columns = {column.name: column.sql_type for column in contract.columns}
        evaluation = evaluate(session, _RELATION, dataset.rules, columns, now)
        advisory = {name: evaluate(session, _RELATION, ruleset, columns, now) for name, ruleset in dataset.advisory}
        words = {rule.settings.rule_id: rule.explanation for rule in declared_rules(dataset.rules)}
        tag = evaluation.failed_rules_sql or "NULL::VARCHAR[]"
        reader = session.stream(f"SELECT *, {tag} AS _failed_rules FROM {_RELATION}")
        schema = pa.schema([field for field in reader.schema if field.name != "_failed_rules"])
        preview: list[Mapping[str, object]] = []
        with (
            ParquetSink(folder / "part-00000.parquet", schema) as passed,
            ParquetSink(folder / "failed-00000.parquet", _with_reasons(reader.schema), even_empty=False) as failed,
        ):
            for batch in reader:
                rest = batch
                if rest["_failed_rules"].null_count < rest.num_rows:
                    failed.write(_explained(rest.filter(pc.is_valid(rest["_failed_rules"])), words))
                    rest = rest.filter(pc.is_null(rest["_failed_rules"]))
                rest = rest.select(schema.names)
                preview = preview or preview_of(rest, contract)
                passed.write(rest)
            parts = {"passed": passed.finish(), "failed": failed.finish()}
        failed_paths = [file.path for file in parts["failed"]]
        keys = _failed_keys(session, dataset, [str(path) for path in failed_paths])
        with ParquetSink(folder / "register.parquet", _REGISTER) as register:
            for batch in _register(session, cleaned, platform, [str(path) for path in failed_paths]):
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
            rows_passed=passed.rows,
            rows_failed=failed.rows,
            results=evaluation.results,
        )
        manifest = lake.publish(
            LAYER,
            dataset.name,
            partition,
            inputs=_inputs(cleaned, dataset),
            parts=parts,
            counts={"rows_in": cleaned.counts["rows"], "rows": passed.rows, "failed": failed.rows},
            schema=[(field.name, str(field.type)) for field in schema],
            preview=preview,
            details={
                "verdict": verdict.to_json(),
                "advisory": {
                    name: [result.to_json() for result in outcome.results] for name, outcome in advisory.items()
                },
                "failed_keys": keys,
            },
        )
        rejected = lake.publish(
            REGISTER,
            dataset.name,
            partition,
            inputs={LAYER: manifest.version, UPSTREAM: cleaned.version},
            parts={"rows": entries},
            counts={"rows": register.rows},
            schema=[(field.name, str(field.type)) for field in _REGISTER],
        )
    return manifest, rejected


def verdict_of(manifest: Manifest | None) -> Verdict | None:
    """The verdict a quality-checked manifest carries."""
    return Verdict.from_json(manifest.details["verdict"]) if manifest else None


def advisory_results(manifest: Manifest) -> Mapping[str, Sequence[RuleResult]]:
    """What the advisory rulesets found, by the name of their file."""
    return {
        name: [RuleResult.from_json(body) for body in results] for name, results in manifest.details["advisory"].items()
    }


def _with_reasons(schema: pa.Schema) -> pa.Schema:
    return schema.append(pa.field("_reasons", pa.list_(pa.string())))


def _explained(batch: pa.RecordBatch, words: Mapping[str, str]) -> pa.RecordBatch:
    """Adds to each failed row the plain words for the rules it failed."""
    reasons = [[words[rule] for rule in rules] for rules in batch["_failed_rules"].to_pylist()]
    schema = _with_reasons(batch.schema)
    return pa.RecordBatch.from_arrays([*batch.columns, pa.array(reasons, pa.list_(pa.string()))], schema=schema)


def _failed_keys(session: Session, dataset: Dataset, failed: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Up to `KEYS_SHOWN` primary keys for each rule that rows failed; never values of personal columns."""
    shown = [column.name for column in dataset.contract.key if not column.personal] or ["_source", "_row"]
    if not failed:
        return {}
    files = ", ".join(session.dialect.text(path) for path in failed)
    key = " || '/' || ".join(f"COALESCE({session.dialect.name(name)}::VARCHAR, '(none)')" for name in shown)
    found = session.rows(
        f"SELECT rule, list({key} ORDER BY _source, _row)[1:{KEYS_SHOWN}] "
        f"FROM (SELECT *, unnest(_failed_rules) AS rule FROM read_parquet([{files}])) GROUP BY rule ORDER BY rule"
    )
    return dict(found)


def _register(session: Session, cleaned: Manifest, platform: Platform, failed: Sequence[str]) -> pa.RecordBatchReader:
    """Every rejection of the year: values not typed, rows removed or superseded, rows that failed rules."""

    def files(paths: Sequence[str]) -> str:
        return f"read_parquet([{', '.join(session.dialect.text(path) for path in paths)}])"

    def part(name: str) -> Sequence[str]:
        return [str(path) for path in platform.lake.paths(cleaned, name)]

    selects = ["SELECT NULL::INTEGER, NULL::BIGINT, NULL, NULL, NULL WHERE false"]
    if part("untyped"):
        selects.append(f"SELECT _source, _row, 'value not typed', \"column\", reason FROM {files(part('untyped'))}")
    if part("removed"):
        selects.append(f"SELECT _source, _row, 'removed by recipe', NULL, _removed FROM {files(part('removed'))}")
    if part("duplicates"):
        selects.append(
            f"SELECT _source, _row, 'duplicate', NULL, 'a newer row has the same key' FROM {files(part('duplicates'))}"
        )
    if failed:
        selects.append(
            f"SELECT _source, _row, 'failed rule', unnest(_failed_rules), unnest(_reasons) FROM {files(failed)}"
        )
    names = ", ".join(session.dialect.name(name) for name in _REGISTER.names)
    # Without the casts a column of which no part says anything would have no type.
    casts = (
        "_source, _row, stage::VARCHAR AS stage, column_or_rule::VARCHAR AS column_or_rule, reason::VARCHAR AS reason"
    )
    return session.stream(
        f"SELECT {casts} FROM ({' UNION ALL '.join(selects)}) AS register({names}) "
        "ORDER BY _source, _row, stage, column_or_rule"
    )
