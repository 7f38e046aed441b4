"""Curated: the published summary of the trusted rows, as Parquet for analysts and CSV for everybody.

`curated.sql` reads the relation `trusted`, in which personal columns are already masked, so no summary can publish
what the contract calls personal.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.csv

from city_platform.contracts.model import Classification
from city_platform.datasets import Dataset
from city_platform.engines.session import Session
from city_platform.lake.lake import StagedFile
from city_platform.lake.manifest import Manifest
from city_platform.lake.sink import ParquetSink, workspace
from city_platform.layers import CURATED, quality_checked
from city_platform.layers.gated import PASSED, trusted
from city_platform.layers.platform import Platform
from city_platform.layers.preview import preview_of
from city_platform.protection.classification import master_key
from city_platform.protection.masking import masked_select, needs_pseudonyms, pseudonym_key, register_pseudonym
from city_platform.protection.spreadsheet import escape, escaped

LAYER = CURATED
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
    lake, contract = platform.lake, dataset.contract
    with workspace(lake) as folder, platform.engine.session() as session:
        checked = trusted(platform, dataset, partition, session)
        pseudonym = None
        if needs_pseudonyms(contract):
            platform.keys.ensure(master_key(dataset.name, Classification.PERSONAL))
            pseudonym = register_pseudonym(session, pseudonym_key(platform.keys, lake.store, dataset.name))
        masked = masked_select(contract, session.dialect, PASSED, pseudonym)
        session.execute(f"CREATE TEMP VIEW trusted AS {masked}")
        session.execute(f"SET VARIABLE report_date = DATE '{_report_date(platform, dataset, partition)}'")
        session.execute(f"CREATE TEMP TABLE summary AS {dataset.curated_sql.rstrip().removesuffix(';')}")
        reader = session.stream("SELECT * FROM summary")
        with ParquetSink(folder / "part-00000.parquet", reader.schema, compression="snappy") as parquet:
            for batch in reader:
                parquet.write(batch)
            files = parquet.finish()
        csv = folder / "part-00000.csv"
        write_csv(session, "summary", {one.name: pa.types.is_string(one.type) for one in reader.schema}, csv)
        return lake.publish(
            LAYER,
            dataset.name,
            partition,
            inputs=_inputs(checked, dataset),
            parts={"parquet": files, "csv": [StagedFile.of(csv, parquet.rows)]},
            counts={"rows_in": checked.counts["rows"], "rows": parquet.rows},
            schema=[(field.name, str(field.type)) for field in reader.schema],
            preview=preview_of(session, "summary", reader.schema.names, contract),
        )


def write_csv(session: Session, relation: str, columns: Mapping[str, bool], file: Path) -> int:
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


def _report_date(platform: Platform, dataset: Dataset, partition: str) -> str:
    """The local day on which the newest source of the data landed.

    Not the day of the run: a backfill next year must give the same bytes from the same sources.
    """
    raw = platform.lake.require("raw", dataset.name, partition)
    newest = max(datetime.fromisoformat(source["landed_at"]) for source in raw.details["sources"])
    return newest.astimezone(ZoneInfo(dataset.contract.timezone)).date().isoformat()
