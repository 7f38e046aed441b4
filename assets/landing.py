"""The job that lands one dropped file, and the request for it that both the sensor and the schedule make."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import dagster as dg

from assets.graph import typed_failures
from city_platform.datasets import Dataset
from city_platform.layers import drop_folder
from city_platform.layers.platform import Platform
from resources.platform import PlatformResource

JOB = "land"


class DroppedFile(dg.Config):
    """Which file to land, as which dataset."""

    dataset: str
    path: str


def landing_job(datasets: Sequence[Dataset]) -> dg.JobDefinition:
    """Lands one file of the drop folder; the outdated-partitions sensor takes it from there."""
    known = {dataset.name: dataset for dataset in datasets}

    @dg.op
    def land_dropped_file(context: dg.OpExecutionContext, config: DroppedFile, platform: PlatformResource) -> None:
        file = Path(config.path)
        try:
            with typed_failures():
                landing = drop_folder.take(platform.open(), known[config.dataset], file)
        except FileNotFoundError:
            context.log.info("%s is gone from the drop folder: another run has taken it", file.name)
            return
        source = landing.source
        context.add_output_metadata(
            {
                "rows": source.rows,
                "unreadable lines": source.unreadable,
                "rows without a partition": source.unplaced,
                "sha256": source.sha256,
                "known before": landing.known,
                "partitions": ", ".join(landing.partitions),
                "drift": "; ".join(drift.message for drift in source.drift) or "none",
            }
        )

    @dg.job(name=JOB, description="Lands one file of the drop folder.", executor_def=dg.in_process_executor)
    def job() -> None:
        land_dropped_file()

    return job


def landing_requests(
    platform: Platform, folder: Path, datasets: Sequence[Dataset], now: float, tick: str = ""
) -> Iterator[dg.RunRequest]:
    """One run for each file that waits. A file that changes is another run; the same file is asked for once a `tick`.

    What cannot even be asked for is set aside.
    """
    for dataset, file in drop_folder.waiting(folder, datasets, now):
        try:
            if drop_folder.set_aside(platform, dataset, file):
                continue
            facts = file.stat()
        except FileNotFoundError:  # a run has taken it since the folder was listed
            continue
        yield dg.RunRequest(
            run_key=f"{dataset.name}/{file.name}/{facts.st_size}/{facts.st_mtime_ns}" + (f"/{tick}" if tick else ""),
            job_name=JOB,
            run_config={"ops": {"land_dropped_file": {"config": {"dataset": dataset.name, "path": str(file)}}}},
            tags={"dataset": dataset.name},
        )
