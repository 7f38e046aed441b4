"""Question assets: the answers to a dataset's business questions."""

import base64
from collections.abc import Iterator, Sequence

import dagster as dg

from assets.graph import BYTES_READ, BYTES_WRITTEN, asset_key, markdown_table, typed_failures
from assets.jobs import UnresolvedAssetJobDefinition
from city_platform.contracts.model import Classification
from city_platform.datasets import Dataset
from city_platform.layers import quality_checked, questions
from resources.platform import PlatformResource

ROWS_SHOWN = 100


def questions_asset(dataset: Dataset) -> dg.AssetsDefinition:
    """`[dataset, questions]`: one for all partitions, because a question asks all of them."""
    asked = "\n".join(f"- {question.title}" for question in dataset.questions)
    span = dataset.contract.partitioning.granularity
    read = {column for question in dataset.questions for column in question.columns}
    public = all(dataset.contract.column(name).classification is Classification.PUBLIC for name in read)
    spec = dg.AssetSpec(
        key=asset_key(dataset, questions.LAYER),
        deps=[asset_key(dataset, quality_checked.LAYER)],
        description=f"{dataset.contract.title}: answers from the trusted rows of every {span}.\n\n{asked}",
        group_name=dataset.name,
        owners=[dataset.contract.owner],
        kinds={"duckdb", "parquet"},
        tags={
            "layer": questions.LAYER,
            "classification": "public" if public else "internal",
            "cadence": dataset.contract.cadence,
            "domain": dataset.contract.domain,
        },
        metadata={
            question.name: dg.MetadataValue.md(f"```sql\n{question.athena}```") for question in dataset.questions
        },
    )

    @dg.multi_asset(name="__".join(spec.key.path), specs=[spec])
    def answer(platform: PlatformResource) -> dg.MaterializeResult[None]:
        adapters = platform.open()
        with typed_failures():
            manifest, answers = questions.materialize(adapters, dataset)
        return dg.MaterializeResult(
            asset_key=spec.key,
            metadata={
                **dict(_shown(answers)),
                f"{span}s": dg.MetadataValue.text(", ".join(manifest.details["years"])),
                f"{span}s behind a closed gate": dg.MetadataValue.text(
                    ", ".join(manifest.details["years_behind_a_closed_gate"]) or "none"
                ),
                "dagster/row_count": dg.MetadataValue.int(manifest.counts["rows"]),
                BYTES_READ: dg.MetadataValue.int(adapters.lake.opened.take()),
                BYTES_WRITTEN: dg.MetadataValue.int(adapters.lake.written.take()),
            },
            data_version=dg.DataVersion(manifest.version),
        )

    return answer


def questions_job(datasets: Sequence[Dataset]) -> UnresolvedAssetJobDefinition:
    """All questions of these datasets."""
    return dg.define_asset_job(
        "questions",
        selection=dg.AssetSelection.assets(*(asset_key(dataset, questions.LAYER) for dataset in datasets)),
        description="Answers the business questions of every dataset.",
    )


def _shown(answers: Sequence[questions.Answer]) -> Iterator[tuple[str, dg.MetadataValue]]:
    for answer in answers:
        rows = [dict(zip(answer.headers, row, strict=True)) for row in answer.rows[:ROWS_SHOWN]]
        more = f"\n\n{len(answer.rows) - ROWS_SHOWN} more rows" if len(answer.rows) > ROWS_SHOWN else ""
        drawn = ""
        if answer.chart is not None:
            drawn = f"![{answer.question.title}](data:image/png;base64,{base64.b64encode(answer.chart).decode()})\n\n"
        yield answer.question.title, dg.MetadataValue.md(f"{drawn}{markdown_table(rows)}{more}")
