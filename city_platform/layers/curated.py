"""Curated: the published summary of the trusted rows, as Parquet for analysts and CSV for everybody.

`curated.sql` reads the relation `trusted`, in which personal columns are already masked, so no summary can publish
what the contract calls personal.
"""

import itertools
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.csv

from city_platform.contracts.curated import RELATION, REPORT_DATE
from city_platform.contracts.model import Classification
from city_platform.datasets import Dataset
from city_platform.engines.duckdb import DuckDBSession
from city_platform.engines.session import NotOnSpark, Session
from city_platform.engines.spark_connect import SparkSession, renamed
from city_platform.engines.spark_summary import SparkSummary, summary_for_spark
from city_platform.lake.lake import StagedFile
from city_platform.lake.manifest import Manifest
from city_platform.lake.sink import ParquetSink, workspace
from city_platform.layers import CURATED, quality_checked
from city_platform.layers.computing import computed
from city_platform.layers.gated import PASSED, admitted, passed
from city_platform.layers.platform import Platform
from city_platform.layers.preview import preview_of
from city_platform.protection.classification import master_key
from city_platform.protection.masking import (
    masked_select,
    masked_type,
    needs_pseudonym,
    needs_pseudonyms,
    pseudonym_key,
    register_pseudonym,
)
from city_platform.protection.spreadsheet import escape, escaped
from city_platform.quality.predicates import family

LAYER = CURATED
_SUMMARY = "summary"
REVISION = "1"  # raise it when this module starts to write other rows from the same inputs


def inputs(platform: Platform, dataset: Dataset, partition: str) -> Mapping[str, str] | None:
    """Trusted version, summary and contract; None while nothing is checked."""
    checked = platform.lake.latest(quality_checked.LAYER, dataset.name, partition)
    return _inputs(checked, dataset) if checked else None


def _inputs(checked: Manifest, dataset: Dataset) -> Mapping[str, str]:
    return {
        quality_checked.LAYER: checked.version,
        "summary": dataset.curated_hash,
        "contract": dataset.contract_hash,
        "revision": REVISION,
    }


def materialize(platform: Platform, dataset: Dataset, partition: str) -> Manifest:
    """Publishes the summary; raises GateClosed unless the data passed its rules."""
    lake = platform.lake
    with workspace(lake) as folder, platform.engine.session() as session:
        checked = admitted(platform, dataset, partition)
        raw = lake.require("raw", dataset.name, partition)

        def summarised(engine: Session) -> pa.RecordBatchReader:
            if not isinstance(engine, SparkSession):
                return _here(platform, dataset, checked, raw, session)
            return _on_spark(platform, dataset, checked, raw, engine, session)

        def written(engine: Session) -> tuple[pa.Schema, list[StagedFile]]:
            reader = summarised(engine)
            with ParquetSink(folder / "part-00000.parquet", reader.schema, compression="snappy") as parquet:
                for batch in reader:
                    parquet.write(batch)
                return reader.schema, parquet.finish()

        schema, files = computed(platform, session, checked.counts["rows"], written)
        rows = sum(one.rows for one in files)
        session.view(_SUMMARY, [one.path for one in files])
        csv = folder / "part-00000.csv"
        write_csv(session, _SUMMARY, {one.name: pa.types.is_string(one.type) for one in schema}, csv)
        return lake.publish(
            LAYER,
            dataset.name,
            partition,
            inputs=_inputs(checked, dataset),
            parts={"parquet": files, "csv": [StagedFile.of(csv, rows)]},
            counts={"rows_in": checked.counts["rows"], "rows": rows},
            schema=[(field.name, str(field.type)) for field in schema],
            preview=preview_of(session, _SUMMARY, schema.names, dataset.contract),
        )


def _here(
    platform: Platform, dataset: Dataset, checked: Manifest, raw: Manifest, session: DuckDBSession
) -> pa.RecordBatchReader:
    """The summary's rows, by DuckDB."""
    passed(session, platform.lake, checked)
    session.select_view(RELATION, masked_rows(platform, dataset, session, PASSED))
    set_report_date(session, dataset, raw)
    # Computed once: a view would be asked again for its columns.
    session.execute(f"CREATE TEMP TABLE {_SUMMARY}_rows AS {_query(dataset)}")
    return session.stream(f"SELECT * FROM {_SUMMARY}_rows")


def _on_spark(
    platform: Platform, dataset: Dataset, checked: Manifest, raw: Manifest, spark: SparkSession, here: DuckDBSession
) -> pa.RecordBatchReader:
    """The summary's rows, by Spark, under the names and types that DuckDB gives them."""
    contract = dataset.contract
    masked = {column.name: masked_type(column) for column in contract.columns}
    summary = summary_for_spark(dataset.curated_sql, masked, _report_date(dataset, raw))
    shown = [column for column in contract.columns if column.name.lower() in summary.columns]
    if any(map(needs_pseudonym, shown)):
        raise NotOnSpark(
            "the summary reads a pseudonym, made by the dataset's secret, which does not leave this process"
        )
    passed(spark, platform.lake, checked)
    names = {column.name for column in shown} or {contract.columns[0].name}
    spark.select_view(RELATION, masked_select(contract, spark.dialect, PASSED, columns=names))
    _same_clocks(spark, summary, [one.name for one in shown if family(masked[one.name]) == "timestamptz"])
    set_report_date(here, dataset, raw)
    nothing = ", ".join(f"CAST(NULL AS {kind}) AS {here.dialect.name(name)}" for name, kind in masked.items())
    here.select_view(RELATION, f"SELECT {nothing} WHERE FALSE")
    schema = here.stream(_query(dataset)).schema
    return renamed(spark.stream(summary.sql), schema)


def _same_clocks(spark: SparkSession, summary: SparkSummary, moments: Sequence[str]) -> None:
    """Raises NotOnSpark where a moment lies beyond what both engines know of the summary's time zones."""
    for zone, name in itertools.product(sorted(summary.zones), map(spark.dialect.name, moments)):
        span = spark.zone_span(zone)
        if span is not None:
            low, high = (f"TIMESTAMP_LTZ {spark.dialect.text(one)}" for one in span)
            ((beyond,),) = spark.rows(f"SELECT count_if({name} < {low} OR {name} >= {high}) FROM {RELATION}")
            if beyond:
                raise NotOnSpark(f"{beyond:,} moments lie where Spark has the rules of {zone} of another release")


def _query(dataset: Dataset) -> str:
    return dataset.curated_sql.rstrip().removesuffix(";")


def write_csv(session: DuckDBSession, relation: str, columns: Mapping[str, bool], file: Path) -> int:
    """A relation as RFC 4180, UTF-8, header first, mode 0600; what a spreadsheet would run as a formula is escaped.

    `columns` says of each whether it holds texts, the only values that can be formulas. Returns the rows.
    """
    dialect = session.dialect
    values = [
        f"{escaped(name, dialect) if is_text else name} AS {dialect.name(escape(column))}"
        for column, is_text in columns.items()
        if (name := dialect.name(column))
    ]
    reader = session.stream(f"SELECT {', '.join(values)} FROM {relation}")
    rows = 0
    file.touch(mode=0o600)
    options = pyarrow.csv.WriteOptions(quoting_style="needed")
    with pyarrow.csv.CSVWriter(file, reader.schema, write_options=options) as writer:
        for batch in reader:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def masked_rows(
    platform: Platform, dataset: Dataset, session: DuckDBSession, relation: str, beside: Sequence[str] = ()
) -> str:
    """SQL for what a summary reads as `trusted`: the relation's rows, personal columns masked.

    `beside` names columns of the platform's own that come along. Raises the key service's errors.
    """
    pseudonym = None
    if needs_pseudonyms(dataset.contract):
        platform.keys.ensure(master_key(dataset.name, Classification.PERSONAL))
        pseudonym = register_pseudonym(session, pseudonym_key(platform.keys, platform.lake.store, dataset.name))
    return masked_select(dataset.contract, session.dialect, relation, pseudonym, beside)


def set_report_date(session: DuckDBSession, dataset: Dataset, raw: Manifest) -> None:
    """Gives the summary its day."""
    session.execute(f"SET VARIABLE {REPORT_DATE} = DATE '{_report_date(dataset, raw)}'")


def _report_date(dataset: Dataset, raw: Manifest) -> date:
    """The local day on which the newest source of the raw version landed.

    Not the day of the run: a backfill next year must give the same bytes from the same sources.
    """
    newest = max(datetime.fromisoformat(source["landed_at"]) for source in raw.details["sources"])
    return newest.astimezone(ZoneInfo(dataset.contract.timezone)).date()
