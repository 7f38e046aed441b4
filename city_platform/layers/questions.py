"""Questions: the answers to a dataset's business questions, over every year whose gate stands open.

Answers are computed from the trusted rows and not from the summary, which no longer has every column; each is kept as
Parquet, and a chart as PNG. Years behind a closed gate are left out and named.
"""

import hashlib
import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from city_platform.contracts.question import Question
from city_platform.datasets import Dataset
from city_platform.engines.duckdb import DuckDBSession
from city_platform.errors import PermanentError
from city_platform.lake.lake import Lake, StagedFile
from city_platform.lake.manifest import Manifest
from city_platform.lake.sink import ParquetSink, workspace
from city_platform.layers import quality_checked
from city_platform.layers.gated import PASSED, trusted
from city_platform.layers.platform import Platform
from city_platform.quality.gate import GateClosed

LAYER, EVERYTHING = "questions", "all"
REVISION = "2"  # raise it when this module starts to write other answers from the same inputs
_TRUSTED = "trusted"


class NothingToAsk(PermanentError):
    """No year of the dataset may be used, or it has no questions."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A question's table; `chart` is a PNG, None where the question asks for none."""

    question: Question
    headers: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    chart: bytes | None


def materialize(platform: Platform, dataset: Dataset) -> tuple[Manifest, Sequence[Answer]]:
    """Answers every question and publishes the answers; raises NothingToAsk."""
    if not dataset.questions:
        raise NothingToAsk(f"{dataset.name} has no questions: add one as questions/NAME.sql to the dataset's folder")
    lake = platform.lake
    with workspace(lake) as folder, platform.engine.session() as session:
        wanted = {column for question in dataset.questions for column in question.columns}
        versions, closed = trusted_rows(platform, dataset, session, wanted)
        parts: dict[str, list[StagedFile]] = {}
        answers = []
        for question in dataset.questions:
            reader = session.stream(question.sql)
            headers = tuple(reader.schema.names)
            with ParquetSink(folder / f"{question.name}.parquet", reader.schema, compression="snappy") as sink:
                for batch in reader:
                    sink.write(batch)
                parts[question.name] = list(sink.finish())
            rows = tuple(session.rows(question.sql))
            chart = _chart(question, headers, rows) if question.charted else None
            if chart is not None:
                picture = folder / f"{question.name}.png"
                picture.touch(mode=0o600)
                picture.write_bytes(chart)
                parts[question.name].append(StagedFile.of(picture, len(rows)))
            answers.append(Answer(question, headers, rows, chart))
        manifest = lake.publish(
            LAYER,
            dataset.name,
            EVERYTHING,
            inputs={**versions, "questions": asked_hash(dataset), "revision": REVISION},
            parts=parts,
            counts={"rows": sum(len(answer.rows) for answer in answers)},
            schema=[],
            details={"years": sorted(versions), "years_behind_a_closed_gate": closed},
        )
    return manifest, answers


def asked_hash(dataset: Dataset) -> str:
    """What is asked, as the manifest of the answers names it."""
    return hashlib.sha256("\0".join(question.sql for question in dataset.questions).encode()).hexdigest()


def trusted_rows(
    platform: Platform, dataset: Dataset, session: DuckDBSession, wanted: Collection[str], since: str = ""
) -> tuple[dict[str, str], list[str]]:
    """Makes the wanted columns of all open partitions the table `trusted`; the partitions' versions, and those closed.

    With `since` of that partition and those after it. Raises NothingToAsk where there is none.
    """
    lake: Lake = platform.lake
    names = ", ".join(session.dialect.name(one.name) for one in dataset.contract.columns if one.name in wanted)
    versions: dict[str, str] = {}
    closed = []
    for year in lake.partitions(quality_checked.LAYER, dataset.name):
        if year < since:
            continue
        try:
            manifest = trusted(platform, dataset, year, session)
        except GateClosed:
            closed.append(year)
            continue
        rows = f"SELECT {names} FROM {PASSED}"
        session.execute(f"INSERT INTO {_TRUSTED} {rows}" if versions else f"CREATE TEMP TABLE {_TRUSTED} AS {rows}")
        versions[year] = manifest.version
    if not versions:
        behind = f"; behind a closed gate: {', '.join(closed)}" if closed else ""
        raise NothingToAsk(
            f"{dataset.name} has no {dataset.contract.partitioning.granularity} whose rows may be used{behind}"
        )
    return versions, closed


def _chart(question: Question, headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    """A PNG with one panel a charted column, because their scales differ; the same rows, the same bytes."""
    from matplotlib.figure import Figure  # half a second that only whoever draws pays for

    figure = Figure(figsize=(8, 2.2 * len(question.charted) + 0.6), layout="constrained")
    figure.suptitle(question.title, fontsize=10)
    panels = figure.subplots(len(question.charted), 1, sharex=True, squeeze=False)
    # Years stand as far apart as they are; anything else side by side.
    first = [row[0] for row in rows]
    places: list[float] = [*first] if all(isinstance(one, int) for one in first) else [*range(len(rows))]
    for panel, column in zip(panels[:, 0], question.charted, strict=True):
        values = [row[headers.index(column)] for row in rows]
        heights = [float("nan") if one is None else float(one) for one in values]
        panel.plot(places, heights, marker="o", markersize=4)
        panel.set_ylabel(column, fontsize=9)
        known = [0.0, *(float(one) for one in values if one is not None)]
        room = 0.2 * (max(known) - min(known) or 1)  # for the figures beside the points
        panel.set_ylim(min(known) - room if min(known) < 0 else 0, max(known) + room)
        panel.grid(visible=True, alpha=0.3)
        for place, value in zip(places, values, strict=True):
            if value is not None:
                panel.annotate(
                    f"{Decimal(value):,}",
                    (place, float(value)),
                    fontsize=7,
                    xytext=(0, 5),
                    textcoords="offset points",
                    ha="center",
                )
    panels[-1, 0].set_xticks(places, [str(one) for one in first])
    panels[-1, 0].set_xlabel(headers[0], fontsize=9)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=110)
    return drawn.getvalue()
