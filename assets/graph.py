"""What the layers have in common in the graph: keys, partitions, owners, tags, metadata and failures."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime

import dagster as dg

from city_platform.catalog.lineage import LayerLineage, layer_lineage
from city_platform.contracts.model import Column
from city_platform.contracts.partitions import Granularity
from city_platform.datasets import Dataset
from city_platform.errors import PermanentError, TransientError
from city_platform.lake.lake import Lake
from city_platform.lake.manifest import Manifest
from city_platform.layers import exported
from city_platform.layers.cleaned import recipe_of
from city_platform.layers.freshness import LAYERS
from city_platform.layers.platform import Platform
from city_platform.markdown import table
from resources.openlineage import lineage_events
from resources.platform import PlatformResource

_BEGINNINGS = {Granularity.YEAR: "0 0 1 1 *", Granularity.DAY: "0 0 * * *", Granularity.HOUR: "0 * * * *"}
BYTES_READ = "bytes read"  # metadata: of the files that a step opened to make a version
BYTES_WRITTEN = "bytes written"  # and of those it put into the lake: a version may refer to others' files
ENGINE = "engine"  # metadata: what computed the rows, or why Spark did not
RETRY_SECONDS = 5
RETRIES = 2


def asset_key(dataset: Dataset, layer: str) -> dg.AssetKey:
    return dg.AssetKey([dataset.name, layer])


def partitions(dataset: Dataset) -> dg.TimeWindowPartitionsDefinition:
    """One partition a year, day or hour, from the first year the contract allows to the one that has begun."""
    partitioning = dataset.contract.partitioning
    granularity = partitioning.granularity
    return dg.TimeWindowPartitionsDefinition(
        cron_schedule=_BEGINNINGS[granularity],
        fmt=granularity.strftime,
        start=datetime(partitioning.first_year, 1, 1).strftime(granularity.strftime),  # noqa: DTZ001 - the zone stands below
        timezone=granularity.timezone(dataset.contract.timezone),
        end_offset=1,
    )


def daily(dataset: Dataset) -> dg.TimeWindowPartitionsDefinition:
    """One partition a day of UTC, of what is made of an hourly dataset's hours."""
    return dg.TimeWindowPartitionsDefinition(
        cron_schedule=_BEGINNINGS[Granularity.DAY],
        fmt=Granularity.DAY.strftime,
        start=datetime(dataset.contract.partitioning.first_year, 1, 1).strftime(Granularity.DAY.strftime),  # noqa: DTZ001 - the zone stands below
        timezone="UTC",
        end_offset=1,
    )


def layer_spec(
    dataset: Dataset, layer: str, description: str, *, kinds: set[str], deps: Sequence[str] = (), columns: bool = True
) -> dg.AssetSpec:
    """An asset for one layer: everything the UI shows about it before it has run."""
    contract = dataset.contract
    classification = "personal" if any(column.personal for column in contract.columns) else "internal"
    return dg.AssetSpec(
        key=asset_key(dataset, layer),
        deps=[asset_key(dataset, upstream) for upstream in deps],
        description=f"{contract.title}: {description}\n\n{contract.purpose}",
        group_name=dataset.name,
        owners=[contract.owner],
        kinds=kinds,
        tags={
            "layer": layer,
            "classification": "public" if layer == "curated" else classification,
            "cadence": contract.cadence,
            "domain": contract.domain,
        },
        metadata={
            "licence": contract.licence,
            "source": dg.MetadataValue.url(contract.source_url),
            "contract_version": contract.version,
            **({"dagster/column_schema": column_schema(contract.columns)} if columns else {}),
        },
        partitions_def=partitions(dataset),
    )


def external_spec(
    dataset: Dataset, name: str, description: str, *, kinds: set[str], classification: str
) -> dg.AssetSpec:
    """What the platform writes elsewhere and the graph only shows: where a dataset's rows come from."""
    return _spec(dataset, name, description, kinds, classification)


def exports_spec(
    dataset: Dataset, upstream: str, description: str, *, kinds: set[str], classification: str
) -> dg.AssetSpec:
    """`[dataset, exports]`: what is written into the lake by partition as it comes; a sensor observes what is new."""
    spec = external_spec(dataset, exported.LAYER, description, kinds=kinds, classification=classification)
    return spec.replace_attributes(deps=[asset_key(dataset, upstream)], partitions_def=partitions(dataset))


def analysis_spec(
    dataset: Dataset, name: str, description: str, *, upstream: Sequence[str], kinds: set[str] | None = None
) -> dg.AssetSpec:
    """A table that is made of all partitions together, or of none: it has no partition itself."""
    spec = _spec(dataset, name, description, kinds or {"duckdb", "parquet"}, "public")
    return spec.replace_attributes(deps=[asset_key(dataset, one) for one in upstream])


def lake_spec(
    datasets: Sequence[Dataset], name: str, description: str, *, classification: str, cadence: str
) -> dg.AssetSpec:
    """`[lake, NAME]`: one for all that the layers of all datasets hold, without partitions."""
    return dg.AssetSpec(
        key=dg.AssetKey(["lake", name]),
        deps=[asset_key(dataset, layer.LAYER) for dataset in datasets for layer in LAYERS],
        description=description,
        group_name="lake",
        owners=sorted({dataset.contract.owner for dataset in datasets}),
        kinds={"parquet"},
        tags={"layer": name, "classification": classification, "cadence": cadence, "domain": "governance"},
    )


def _spec(dataset: Dataset, name: str, description: str, kinds: set[str], classification: str) -> dg.AssetSpec:
    contract = dataset.contract
    return dg.AssetSpec(
        key=asset_key(dataset, name),
        description=f"{contract.title}: {description}",
        group_name=dataset.name,
        owners=[contract.owner],
        kinds=kinds,
        tags={"layer": name, "classification": classification, "cadence": contract.cadence, "domain": contract.domain},
    )


def layer_asset(
    dataset: Dataset,
    spec: dg.AssetSpec,
    make: Callable[[Platform, Dataset, str], Manifest],
    more: Callable[[Manifest], Mapping[str, dg.MetadataValue]] | None = None,
) -> dg.AssetsDefinition:
    """The asset of a layer that is one function of the platform, the dataset and the partition.

    `more` is the metadata that only this layer has.
    """

    @dg.multi_asset(name="__".join(spec.key.path), specs=[spec])
    def layer(context: dg.AssetExecutionContext, platform: PlatformResource) -> dg.MaterializeResult[None]:
        adapters = platform.open()
        with typed_failures(), lineage_events(context, adapters, dataset, spec.key.path[-1]) as report:
            manifest = make(adapters, dataset, context.partition_key)
            report([manifest], ())
        return materialization(
            dataset, manifest, adapters.lake, more(manifest) if more else None, adapters.engines.take()
        )

    return layer


def column_schema(columns: Sequence[Column]) -> dg.TableSchema:
    """The contract's columns as Dagster shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=column.sql_type,
                description=column.description,
                tags={"classification": column.classification.value},
                constraints=dg.TableColumnConstraints(nullable=column.nullable),
            )
            for column in columns
        ]
    )


def materialization(
    dataset: Dataset,
    manifest: Manifest,
    lake: Lake,
    more: Mapping[str, dg.MetadataValue] | None = None,
    engines: Sequence[str] = (),
) -> dg.MaterializeResult[None]:
    """What a published version tells the UI: counts, bytes, digest, places, columns, a preview and `more`.

    Of several versions made in one step the first tells what all of them together read and wrote. `engines` says what
    computed it.
    """
    metadata: dict[str, dg.MetadataValue] = {
        "dagster/row_count": dg.MetadataValue.int(manifest.counts["rows"]),
        "bytes": dg.MetadataValue.int(manifest.size),
        BYTES_READ: dg.MetadataValue.int(lake.opened.take()),
        BYTES_WRITTEN: dg.MetadataValue.int(lake.written.take()),
        "sha256": dg.MetadataValue.text(manifest.sha256),
        "version": dg.MetadataValue.text(manifest.version),
        "files": dg.MetadataValue.md(_file_table(manifest, lake)),
        "dagster/uri": dg.MetadataValue.text(lake.store.uri(f"{manifest.layer}/{manifest.dataset}")),
        **{f"rows/{name}": dg.MetadataValue.int(count) for name, count in manifest.counts.items() if name != "rows"},
    }
    if manifest.schema:
        described = {column.name: column for column in dataset.contract.columns}
        metadata["dagster/column_schema"] = dg.MetadataValue.table_schema(
            dg.TableSchema(
                columns=[
                    dg.TableColumn(name, kind, described[name].description if name in described else None)
                    for name, kind in manifest.schema
                ]
            )
        )
    if engines:
        metadata[ENGINE] = dg.MetadataValue.text("; ".join(dict.fromkeys(engines)))
    if manifest.preview:
        metadata["preview"] = dg.MetadataValue.md(markdown_table(manifest.preview))
    columns = layer_lineage(dataset, manifest.layer)
    if columns is not None:
        metadata["dagster/column_lineage"] = dg.MetadataValue.column_lineage(column_lineage(dataset, columns))
    recipe = recipe_of(lake, manifest)
    if recipe:
        metadata["recipe"] = dg.MetadataValue.text(f"{recipe['version']} (sha256 {recipe['hash']})")
    return dg.MaterializeResult(
        asset_key=asset_key(dataset, manifest.layer),
        metadata={**(more or {}), **metadata},  # shown in this order: what the layer is for before digests and places
        data_version=dg.DataVersion(manifest.version),
    )


def column_lineage(dataset: Dataset, layer: LayerLineage) -> dg.TableColumnLineage:
    """From which columns of the layer before each column is made, as Dagster shows it."""
    upstream = asset_key(dataset, layer.upstream)
    return dg.TableColumnLineage(
        {column.column: [dg.TableColumnDep(upstream, source) for source in column.sources] for column in layer.columns}
    )


@contextmanager
def typed_failures() -> Iterator[None]:
    """Permanent errors end the step with their message; transient ones are tried again by the step's policy."""
    try:
        yield
    except TransientError as error:
        raise dg.RetryRequested(max_retries=RETRIES, seconds_to_wait=RETRY_SECONDS) from error
    except PermanentError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error


def _file_table(manifest: Manifest, lake: Lake) -> str:
    rows: list[Mapping[str, object]] = [
        {"part": part, "rows": file.rows, "bytes": file.bytes, "sha256": file.sha256, "uri": lake.store.uri(file.key)}
        for part, files in manifest.parts.items()
        for file in files
    ]
    return markdown_table(rows)


def markdown_list(sentences: Sequence[str]) -> str:
    """A list in Markdown."""
    return "\n".join(f"- {one}" for one in sentences) or "none"


def markdown_table(rows: Sequence[Mapping[str, object]]) -> str:
    """A table in Markdown, its columns those of the first row."""
    return table(list(rows[0]), [[row.get(name) for name in rows[0]] for row in rows]) if rows else "(none)"
