"""Cleaned: typed rows after the recipe, one row a key.

Nothing disappears: values that could not be typed, rows the recipe removed and older rows of the same key are kept
in files of their own beside the rows, and the counts add up.
"""

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from city_platform.cleaning.compile import cleaning_select
from city_platform.contracts.folder import Dataset
from city_platform.contracts.model import Contract
from city_platform.engines.duckdb import Session
from city_platform.lake.manifest import Manifest
from city_platform.lake.sink import ParquetSink, workspace
from city_platform.layers.platform import Platform
from city_platform.layers.preview import preview_of

LAYER, UPSTREAM = "cleaned", "raw"
REVISION = "1"  # raise it when this module starts to write other rows from the same inputs

_RELATION = "cleaned_rows"
_SOURCE_STRIDE = 1 << 40  # more rows than a source can have
_UNTYPED = pa.schema(
    [
        ("_source", pa.int32()),
        ("_row", pa.int64()),
        ("column", pa.string()),
        ("value", pa.string()),
        ("reason", pa.string()),
    ]
)


def inputs(platform: Platform, dataset: Dataset, partition: str) -> Mapping[str, str] | None:
    """Raw version, recipe and contract; None while there is no raw data."""
    raw = platform.lake.latest(UPSTREAM, dataset.name, partition)
    return _inputs(raw, dataset) if raw else None


def _inputs(raw: Manifest, dataset: Dataset) -> Mapping[str, str]:
    return {
        UPSTREAM: raw.version,
        "recipe": dataset.recipe_hash,
        "contract": dataset.contract_hash,
        "revision": REVISION,
    }


def materialize(platform: Platform, dataset: Dataset, partition: str) -> Manifest:
    """Runs the recipe over the year's rows; raises NotPublished without raw data."""
    lake = platform.lake
    raw = lake.require(UPSTREAM, dataset.name, partition)
    with workspace(lake) as folder, platform.engine.session() as session:
        _define(session, dataset, raw, [str(path) for path in lake.paths(raw, "rows")])
        older = _older_of_the_same_key(session, dataset.contract)
        reader = session.stream(f"SELECT * FROM {_RELATION}")
        schema = pa.schema([field for field in reader.schema if field.name not in {"_untyped", "_removed"}])
        preview: list[Mapping[str, object]] = []
        with (
            ParquetSink(folder / "part-00000.parquet", schema) as kept,
            ParquetSink(folder / "duplicates.parquet", schema, even_empty=False) as duplicates,
            ParquetSink(folder / "removed.parquet", reader.schema, even_empty=False) as removed,
            ParquetSink(folder / "untyped.parquet", _UNTYPED, even_empty=False) as untyped,
        ):
            for batch in reader:
                rest = batch
                if rest["_removed"].null_count < rest.num_rows:
                    removed.write(rest.filter(pc.is_valid(rest["_removed"])))
                    rest = rest.filter(pc.is_null(rest["_removed"]))
                if len(older):
                    is_older = pc.is_in(_position(rest), value_set=older)
                    duplicates.write(rest.filter(is_older).select(schema.names))
                    rest = rest.filter(pc.invert(is_older))
                if rest["_untyped"].null_count < rest.num_rows:
                    untyped.write(_untyped_values(rest.filter(pc.is_valid(rest["_untyped"]))))
                rest = rest.select(schema.names)
                preview = preview or preview_of(rest, dataset.contract)
                kept.write(rest)
            parts = {
                "rows": kept.finish(),
                "duplicates": duplicates.finish(),
                "removed": removed.finish(),
                "untyped": untyped.finish(),
            }
        return lake.publish(
            LAYER,
            dataset.name,
            partition,
            inputs=_inputs(raw, dataset),
            parts=parts,
            counts={
                "rows_in": raw.counts["rows"],
                "rows": kept.rows,
                "duplicates": duplicates.rows,
                "removed": removed.rows,
                "untyped_values": untyped.rows,
            },
            schema=[(field.name, str(field.type)) for field in schema],
            preview=preview,
            details={"sources": [source["name"] for source in raw.details["sources"]]},
        )


def _define(session: Session, dataset: Dataset, raw: Manifest, paths: Sequence[str]) -> None:
    """A view over all sources of the year, in their order, under the contract's names and types."""
    selects = []
    for index, (source, path) in enumerate(zip(raw.details["sources"], paths, strict=True)):
        relation = f"read_parquet({session.dialect.text(path)})"
        select = cleaning_select(
            dataset.recipe, dataset.contract, session.dialect, source["present"], relation, source_index=index
        )
        selects.append(f"({select})")
    session.execute(f"CREATE TEMP VIEW {_RELATION} AS {' UNION ALL '.join(selects)}")


def _older_of_the_same_key(session: Session, contract: Contract) -> pa.Array:
    """Positions of rows that another row of the same key supersedes: the newest by `latest_by` stays.

    Ties go to the source that landed last, then to the later row. A row with a null in its key has no key.
    """
    if not contract.key:
        return pa.array([], pa.int64())
    key = ", ".join(session.dialect.name(column.name) for column in contract.key)
    complete = " AND ".join(f"{session.dialect.name(column.name)} IS NOT NULL" for column in contract.key)
    session.execute(
        f"CREATE TEMP TABLE repeated AS SELECT {key} FROM {_RELATION} "
        f"WHERE {complete} AND _removed IS NULL GROUP BY ALL HAVING count(*) > 1"
    )
    if not session.rows("SELECT count(*) FROM repeated")[0][0]:
        return pa.array([], pa.int64())
    newest_first = f"{session.dialect.name(contract.latest_by)} DESC NULLS LAST, " if contract.latest_by else ""
    found = session.rows(
        f"SELECT _source, _row FROM (SELECT _source, _row, "
        f"row_number() OVER (PARTITION BY {key} ORDER BY {newest_first}_source DESC, _row DESC) AS place "
        f"FROM {_RELATION} SEMI JOIN repeated USING ({key}) WHERE _removed IS NULL) WHERE place > 1"
    )
    return pa.array([source * _SOURCE_STRIDE + row for source, row in found], pa.int64())


def _position(batch: pa.RecordBatch) -> pa.Array:
    """Source and row in one number, as `_older_of_the_same_key` counts."""
    return pc.add(pc.multiply(batch["_source"].cast(pa.int64()), _SOURCE_STRIDE), batch["_row"])


def _untyped_values(batch: pa.RecordBatch) -> pa.RecordBatch:
    """One row a value that could not be typed."""
    lists = batch["_untyped"]
    parents = pc.list_parent_indices(lists)
    values = pc.list_flatten(lists)
    return pa.RecordBatch.from_arrays(
        [
            batch["_source"].take(parents),
            batch["_row"].take(parents),
            *(pc.struct_field(values, name) for name in ("column", "value", "reason")),
        ],
        schema=_UNTYPED,
    )
