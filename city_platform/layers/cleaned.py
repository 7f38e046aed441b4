"""Cleaned: typed rows after the recipe, one row a key.

Nothing disappears: values that could not be typed, rows the recipe removed and older rows of the same key are kept
in files of their own beside the rows, and the counts add up.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from city_platform.cleaning.compile import cleaning_select
from city_platform.cleaning.versions import remember
from city_platform.contracts.model import Classification
from city_platform.datasets import Dataset
from city_platform.engines.duckdb import DuckDBSession
from city_platform.engines.session import NotOnSpark, Session
from city_platform.lake.lake import Lake, StagedFile, version_of_files
from city_platform.lake.manifest import Manifest
from city_platform.lake.sink import ParquetSink, workspace
from city_platform.layers.changes import changes_since
from city_platform.layers.computing import computed, files_of
from city_platform.layers.platform import Platform
from city_platform.layers.preview import preview_of
from city_platform.protection.classification import master_key
from city_platform.protection.keyed import register_keyed
from city_platform.protection.masking import pseudonym_key

LAYER, UPSTREAM = "cleaned", "raw"
REVISION = "1"  # raise it when this module starts to write other rows from the same inputs

_SOURCE_STRIDE = 1 << 40  # more rows than a source can have
_NONE = np.empty(0, np.int64)
_FEW = 100  # rows of a batch
# What of a part's rows is called in the counts.
_COUNTED = {"rows": "rows", "duplicates": "duplicates", "removed": "removed", "untyped_values": "untyped"}
_Source = tuple[str, Mapping[str, str]]  # the view of its rows, and the header that carries each source column
_DOWNSTREAM = (LAYER, "quality_checked")  # what a later layer names as its input, nearest first
_WORKING = {"_untyped", "_removed", "_position"}  # what the rows carry only until they are sorted out
_UNTYPED = pa.schema(
    [
        ("_source", pa.int32()),
        ("_row", pa.int64()),
        ("column", pa.string()),
        ("value", pa.string()),
        ("reason", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class _Made:
    """The columns that stay, and the files of each part."""

    schema: pa.Schema
    parts: Mapping[str, Sequence[StagedFile]]


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
    """Runs the recipe over the partition's rows; raises NotPublished without raw data."""
    lake, contract = platform.lake, dataset.contract
    raw = lake.require(UPSTREAM, dataset.name, partition)
    remember(lake.store, dataset.name, dataset.recipe_version, dataset.recipe.hash)
    with workspace(lake) as folder, platform.engine.session() as session:
        made = computed(
            platform, session, raw.counts["rows"], lambda engine: _cleaned(platform, dataset, raw, engine, folder)
        )
        schema, parts = made.schema, made.parts
        file = parts["rows"][0].path
        preview = preview_of(session, session.parquet([file]), schema.names, contract)
        changes = changes_since(session, lake, dataset, partition, LAYER, [file], version_of_files(parts))
        return lake.publish(
            LAYER,
            dataset.name,
            partition,
            inputs=_inputs(raw, dataset),
            parts=parts,
            counts={
                "rows_in": raw.counts["rows"],
                **{name: sum(one.rows for one in parts[part]) for name, part in _COUNTED.items()},
            },
            schema=[(field.name, str(field.type)) for field in schema],
            preview=preview,
            details={
                "sources": [source["name"] for source in raw.details["sources"]],
                "changes": changes.to_json() if changes else None,
                "recipe": {"version": dataset.recipe_version, "hash": dataset.recipe.hash},
            },
        )


def _cleaned(platform: Platform, dataset: Dataset, raw: Manifest, session: Session, folder: Path) -> _Made:
    """Runs the recipe in a session and writes the files."""
    sources = []
    for number, (path, source) in enumerate(
        zip(files_of(session, platform.lake, raw, "rows"), raw.details["sources"], strict=True)
    ):
        # Under a name that is every partition's, so that the recipe has the same words for all of them.
        session.view(f"source_{number}", [path])
        sources.append((f"source_{number}", source["present"]))
    keyed = _keyed(platform, dataset, session) if dataset.recipe.needs_secret else None
    older = _older_of_the_same_key(session, dataset, sources, keyed)
    # Computed by the engine: a number handed to Arrow makes it import pandas, which takes a second.
    position = f"_source * {_SOURCE_STRIDE} + _row AS _position"
    select = _select(session, dataset, sources, keyed)
    # Where a step looks at other rows, the engine gives them back in the order its threads finish; Spark always does.
    in_order = " ORDER BY _position" if dataset.recipe.reads_other_rows or session.reads_objects else ""
    reader = session.stream(f"SELECT *, {position} FROM ({select}){in_order}")
    schema = pa.schema([field for field in reader.schema if field.name not in _WORKING])
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
            pieces = [rest]
            is_older = _among(rest["_position"], older)
            if is_older is not None:
                duplicates.write(rest.filter(is_older).select(schema.names))
                pieces = _without(rest, is_older)
            for piece in pieces:
                if piece["_untyped"].null_count < piece.num_rows:
                    untyped.write(_untyped_values(piece.filter(pc.is_valid(piece["_untyped"]))))
                kept.write(piece.select(schema.names))
        parts = {
            "rows": kept.finish(),
            "duplicates": duplicates.finish(),
            "removed": removed.finish(),
            "untyped": untyped.finish(),
        }
    return _Made(schema, parts)


def _keyed(platform: Platform, dataset: Dataset, session: Session) -> str:
    """The function of the recipe's steps that need the dataset's secret."""
    if not isinstance(session, DuckDBSession):
        raise NotOnSpark("the recipe needs the dataset's secret, which does not leave this process")
    platform.keys.ensure(master_key(dataset.name, Classification.PERSONAL))
    return register_keyed(session, pseudonym_key(platform.keys, platform.lake.store, dataset.name))


def recipe_of(lake: Lake, manifest: Manifest) -> Mapping[str, str] | None:
    """`version` and `hash` of the recipe that cleaned the rows a version of this or a later layer is made of.

    None for layers before, and for rows cleaned before versions were recorded.
    """
    layer = next((name for name in _DOWNSTREAM if name in manifest.inputs), None)
    if manifest.layer != LAYER and layer is not None:
        made_of = _version(lake, layer, manifest)
        return recipe_of(lake, made_of) if made_of else None
    return manifest.details.get("recipe")


def _version(lake: Lake, layer: str, manifest: Manifest) -> Manifest | None:
    """The version of an upstream layer that this one was made from: nearly always the newest."""
    wanted = manifest.inputs[layer]
    newest = lake.latest(layer, manifest.dataset, manifest.partition)
    if newest is None or newest.version == wanted:
        return newest
    history = list(lake.history(layer, manifest.dataset, manifest.partition))
    return next((one for one in reversed(history) if one.version == wanted), None)


def _select(
    session: Session,
    dataset: Dataset,
    sources: Sequence[_Source],
    keyed: str | None,
    columns: Collection[str] | None = None,
) -> str:
    """All sources of the partition, in their order, under the contract's names and types."""
    selects = [
        cleaning_select(
            dataset.recipe,
            dataset.contract,
            session.dialect,
            present,
            view,
            source_index=index,
            columns=columns,
            keyed=keyed,
        )
        for index, (view, present) in enumerate(sources)
    ]
    return " UNION ALL ".join(f"({select})" for select in selects)


def _older_of_the_same_key(
    session: Session, dataset: Dataset, sources: Sequence[_Source], keyed: str | None
) -> npt.NDArray[np.int64]:
    """Positions of rows that another row of the same key supersedes, ascending: the newest by `latest_by` stays.

    Ties go to the source that landed last, then to the later row. A row with a null in its key has no key.
    """
    contract = dataset.contract
    names = [column.name for column in contract.key]
    if not names:
        return _NONE
    key = ", ".join(session.dialect.name(name) for name in names)
    complete = " AND ".join(f"{session.dialect.name(name)} IS NOT NULL" for name in names)
    latest = [contract.latest_by] if contract.latest_by else []
    newest_first = "".join(f"{session.dialect.name(name)} DESC NULLS LAST, " for name in latest)
    select = _select(session, dataset, sources, keyed, [*names, *latest])
    kept = session.dialect.kept_query("keyed", f"SELECT * FROM ({select}) WHERE {complete} AND _removed IS NULL")
    # Only the few rows whose key is repeated are put in order.
    older = session.numbers(
        f"WITH {kept}, "
        f"repeated AS (SELECT {key} FROM keyed GROUP BY ALL HAVING count(*) > 1) "
        f"SELECT _source * {_SOURCE_STRIDE} + _row AS _position FROM (SELECT _source, _row, "
        f"row_number() OVER (PARTITION BY {key} ORDER BY {newest_first}_source DESC, _row DESC) AS place "
        f"FROM keyed SEMI JOIN repeated USING ({key})) WHERE place > 1"
    )
    older.sort()
    return older


def _among(positions: pa.Array, ascending: npt.NDArray[np.int64]) -> pa.BooleanArray | None:
    """Which of a batch's positions are among the others; None where none is.

    Rows come in their order, so a batch is compared with the few others between its first and its last: looking each
    batch up in all of them takes as long as there are batches times others.
    """
    own = positions.to_numpy()
    if not len(own):
        return None
    first, last = np.searchsorted(ascending, (own.min(), own.max() + 1))
    found = np.isin(own, ascending[first:last])
    return pa.array(found) if found.any() else None


def _without(batch: pa.RecordBatch, out: pa.BooleanArray) -> list[pa.RecordBatch]:
    """The rows that are not `out`. Where a few are, the pieces between them, which spares copying all others."""
    places = pc.indices_nonzero(out)
    if len(places) > _FEW:
        return [batch.filter(pc.invert(out))]
    starts, ends = [0], []
    for place in places.to_pylist():
        ends.append(place)
        starts.append(place + 1)
    ends.append(batch.num_rows)
    return [batch.slice(start, end - start) for start, end in zip(starts, ends, strict=True) if end > start]


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
