"""A layer's run as OpenLineage tells it: which data it read and wrote, with schema, column lineage and rules.

Pure: from manifests and definitions to events (https://openlineage.io/spec/2-0-2/OpenLineage.json). Datasets are named
by where they are, as the specification's naming rules have it. No event holds a value of a row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, uuid5

import duckdb
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    DatasetFacet,
    JobFacet,
    RunFacet,
    column_lineage_dataset,
    data_quality_assertions_dataset,
    dataset_version_dataset,
    documentation_job,
    error_message_run,
    job_type_job,
    nominal_time_run,
    output_statistics_output_dataset,
    ownership_job,
    parent_run,
    processing_engine_run,
    schema_dataset,
    sql_job,
)

from city_platform.catalog.lineage import CURATED, RAW, UPSTREAM, ColumnLineage, layer_lineage
from city_platform.contracts.partitions import window
from city_platform.datasets import Dataset
from city_platform.lake.lake import Lake
from city_platform.lake.manifest import Manifest
from city_platform.quality.results import Outcome, RuleResult

NAMESPACE = "city_platform"  # of the jobs
PRODUCER = "https://github.com/OpenLineage/OpenLineage/tree/main/client/python"
_DIRECT, _INDIRECT = "DIRECT", "INDIRECT"


@dataclass(frozen=True, slots=True)
class LayerRun:
    """One attempt of the orchestrator to make a layer of a partition."""

    dataset: Dataset
    layer: str
    partition: str
    parent_id: str  # the orchestrator's run, a UUID
    parent_job: str
    attempt: int = 1

    @property
    def run_id(self) -> str:
        """A UUID that follows from the rest, so that an event sent twice is the same run's."""
        said = f"{self.parent_id}/{self.dataset.name}/{self.layer}/{self.partition}/{self.attempt}"
        return str(uuid5(NAMESPACE_URL, said))


def started(run: LayerRun, lake: Lake, now: datetime) -> RunEvent:
    """START, with what there is to read."""
    return _event(RunState.START, run, now, inputs=_inputs(run, lake))


def completed(
    run: LayerRun, lake: Lake, made: Sequence[Manifest], results: Sequence[RuleResult], now: datetime
) -> RunEvent:
    """COMPLETE, with what was written; `results` are what the rules found in the data that was read."""
    inputs = _inputs(run, lake)
    if results and inputs:
        assertions = data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet(
            [_assertion(one) for one in results]
        )
        inputs[0].inputFacets = {"dataQualityAssertions": assertions}
    outputs = [_output(run, lake, manifest) for manifest in made]
    return _event(RunState.COMPLETE, run, now, inputs=inputs, outputs=outputs)


def failed(run: LayerRun, lake: Lake, message: str, now: datetime) -> RunEvent:
    """FAIL, with the message that the orchestrator shows."""
    error = error_message_run.ErrorMessageRunFacet(message, programmingLanguage="PYTHON")
    return _event(RunState.FAIL, run, now, inputs=_inputs(run, lake), facets={"errorMessage": error})


def _event(
    state: RunState,
    run: LayerRun,
    now: datetime,
    *,
    inputs: Sequence[InputDataset] = (),
    outputs: Sequence[OutputDataset] = (),
    facets: Mapping[str, RunFacet] | None = None,
) -> RunEvent:
    contract = run.dataset.contract
    first, following = window(run.partition, contract.timezone)
    about: dict[str, RunFacet] = {
        "parent": parent_run.ParentRunFacet(parent_run.Run(run.parent_id), parent_run.Job(NAMESPACE, run.parent_job)),
        "nominalTime": nominal_time_run.NominalTimeRunFacet(first.isoformat(), following.isoformat()),
        "processing_engine": processing_engine_run.ProcessingEngineRunFacet(duckdb.__version__, name="DuckDB"),
        **(facets or {}),
    }
    job: dict[str, JobFacet] = {
        "jobType": job_type_job.JobTypeJobFacet("BATCH", "DAGSTER", "ASSET"),
        "documentation": documentation_job.DocumentationJobFacet(f"{contract.title}: {run.layer}. {contract.purpose}"),
        "ownership": ownership_job.OwnershipJobFacet([ownership_job.Owner(contract.owner, "OWNER")]),
        **({"sql": sql_job.SQLJobFacet(run.dataset.curated_sql, "duckdb")} if run.layer == CURATED else {}),
    }
    return RunEvent(
        eventTime=now.isoformat(),
        producer=PRODUCER,
        run=Run(run.run_id, about),
        job=Job(NAMESPACE, f"{run.dataset.name}.{run.layer}", job),
        eventType=state,
        inputs=list(inputs),
        outputs=list(outputs),
    )


def _inputs(run: LayerRun, lake: Lake) -> list[InputDataset]:
    if run.layer == RAW:
        source = urlsplit(run.dataset.contract.source_url)
        return [InputDataset(f"{source.scheme}://{source.netloc}", source.path.strip("/") or run.dataset.name)]
    upstream = UPSTREAM.get(run.layer)
    read = lake.latest(upstream, run.dataset.name, run.partition) if upstream else None
    if read is None:
        return []
    namespace, name = _place(lake, read.layer, read.dataset)
    facets: dict[str, DatasetFacet] = {
        "schema": _schema(run.dataset, read),
        "version": dataset_version_dataset.DatasetVersionDatasetFacet(read.version),
    }
    return [InputDataset(namespace, name, facets=facets)]


def _output(run: LayerRun, lake: Lake, made: Manifest) -> OutputDataset:
    namespace, name = _place(lake, made.layer, made.dataset)
    facets: dict[str, DatasetFacet] = {
        "schema": _schema(run.dataset, made),
        "version": dataset_version_dataset.DatasetVersionDatasetFacet(made.version),
    }
    lineage = layer_lineage(run.dataset, made.layer)
    if lineage is not None:
        upstream = _place(lake, lineage.upstream, made.dataset)
        facets["columnLineage"] = column_lineage_dataset.ColumnLineageDatasetFacet(
            fields={
                column.column: column_lineage_dataset.Fields(inputFields=_fields(upstream, column))
                for column in lineage.columns
            },
            dataset=[_field(upstream, name, _transformation(_INDIRECT, "FILTER")) for name in lineage.rows],
        )
    statistics = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
        rowCount=made.counts["rows"], size=made.size, fileCount=len(made.files)
    )
    return OutputDataset(namespace, name, facets=facets, outputFacets={"outputStatistics": statistics})


def _place(lake: Lake, layer: str, dataset: str) -> tuple[str, str]:
    """Namespace and name by where the data is: `file` and a path, or `s3://bucket` and a key."""
    place = urlsplit(lake.store.uri(f"{layer}/{dataset}"))
    if place.scheme in {"", "file"}:
        return "file", place.path
    return f"{place.scheme}://{place.netloc}", place.path.lstrip("/")


def _schema(dataset: Dataset, manifest: Manifest) -> schema_dataset.SchemaDatasetFacet:
    described = {column.name: column.description for column in dataset.contract.columns}
    return schema_dataset.SchemaDatasetFacet(
        [
            schema_dataset.SchemaDatasetFacetFields(name, kind, described.get(name), ordinal_position=position)
            for position, (name, kind) in enumerate(manifest.schema, start=1)
        ]
    )


def _fields(upstream: tuple[str, str], column: ColumnLineage) -> list[column_lineage_dataset.InputField]:
    how = "AGGREGATION" if column.aggregated else "IDENTITY" if column.how == "unchanged" else "TRANSFORMATION"
    made = _transformation(_DIRECT, how, column.how, masking=bool(column.masking))
    decided = _transformation(_INDIRECT, "CONDITIONAL")
    return [
        *(_field(upstream, name, made) for name in column.sources),
        *(_field(upstream, name, decided) for name in column.conditions),
    ]


def _field(
    upstream: tuple[str, str], name: str, made: column_lineage_dataset.Transformation
) -> column_lineage_dataset.InputField:
    return column_lineage_dataset.InputField(*upstream, name, [made])


def _transformation(
    kind: str, subtype: str, description: str = "", *, masking: bool = False
) -> column_lineage_dataset.Transformation:
    return column_lineage_dataset.Transformation(kind, subtype, description, masking)


def _assertion(result: RuleResult) -> data_quality_assertions_dataset.Assertion:
    return data_quality_assertions_dataset.Assertion(
        assertion=result.rule_id,
        success=result.outcome is Outcome.PASS,
        severity="error" if result.closes_gate else "warn",
        description=result.explanation,
        expected=result.threshold or None,
        actual=None if result.metric_value is None else str(result.metric_value),
        content=result.rule_text,
        contentType="expression",
    )
