"""Curated: the published summary of the trusted rows, as Parquet for analysts and CSV for everybody.

`curated.sql` reads the relation `trusted`, in which personal columns are already masked, so no summary can publish
what the contract calls personal.
"""

from collections.abc import Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

import pyarrow.csv

from city_platform.contracts.folder import Dataset
from city_platform.lake.lake import StagedFile
from city_platform.lake.manifest import Manifest
from city_platform.lake.sink import ParquetSink, workspace
from city_platform.layers import quality_checked
from city_platform.layers.gated import trusted
from city_platform.layers.platform import Platform
from city_platform.layers.preview import preview_of
from city_platform.protection.masking import masked_select, register_pseudonym
from city_platform.protection.spreadsheet import escape_formulas

LAYER = "curated"
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
    checked = trusted(platform, dataset, partition)
    with workspace(lake) as folder, platform.engine.session() as session:
        session.view("passed", lake.paths(checked, "passed"))
        register_pseudonym(session, platform.keys, contract)
        session.execute(f"CREATE TEMP VIEW trusted AS {masked_select(contract, session.dialect, 'passed')}")
        session.execute(f"SET VARIABLE report_date = DATE '{_report_date(platform, dataset, partition)}'")
        reader = session.stream(dataset.curated_sql.rstrip().removesuffix(";"))
        preview: list[Mapping[str, object]] = []
        csv = folder / "part-00000.csv"
        csv.touch(mode=0o600)
        options = pyarrow.csv.WriteOptions(quoting_style="needed")
        with (
            ParquetSink(folder / "part-00000.parquet", reader.schema, compression="snappy") as parquet,
            pyarrow.csv.CSVWriter(csv, reader.schema, write_options=options) as writer,
        ):
            for batch in reader:
                preview = preview or preview_of(batch, contract)
                parquet.write(batch)
                writer.write_batch(escape_formulas(batch))
            files = parquet.finish()
        return lake.publish(
            LAYER,
            dataset.name,
            partition,
            inputs=_inputs(checked, dataset),
            parts={"parquet": files, "csv": [StagedFile.of(csv, parquet.rows)]},
            counts={"rows_in": checked.counts["rows"], "rows": parquet.rows},
            schema=[(field.name, str(field.type)) for field in reader.schema],
            preview=preview,
        )


def _report_date(platform: Platform, dataset: Dataset, partition: str) -> str:
    """The local day on which the newest source of the data landed.

    Not the day of the run: a backfill next year must give the same bytes from the same sources.
    """
    raw = platform.lake.require("raw", dataset.name, partition)
    newest = max(datetime.fromisoformat(source["landed_at"]) for source in raw.details["sources"])
    return newest.astimezone(ZoneInfo(dataset.contract.timezone)).date().isoformat()
