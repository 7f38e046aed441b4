"""Weekly governance: every rule of every year, evaluated again, because some rules depend on the day; then the
scorecard over all of them.
"""

from collections.abc import Iterator

import dagster as dg

from assets.jobs import UnresolvedAssetJobDefinition
from city_platform.datasets import Dataset
from city_platform.layers import quality_checked
from city_platform.layers.scorecard import weekly
from resources.platform import PlatformResource
from schedules.clock import TIMEZONE, scheduled

CRON, SCORECARD_CRON = "0 5 * * 1", "0 6 * * 1"


def governance_schedule(dataset: Dataset, job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Mondays at five in the city's time."""
    span = dataset.contract.partitioning.granularity

    @dg.schedule(
        name=f"weekly_governance_{dataset.name}",
        job=job,
        cron_schedule=CRON,
        execution_timezone=TIMEZONE,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Evaluates every rule of {dataset.contract.title} on every {span}.",
    )
    def weekly_governance(context: dg.ScheduleEvaluationContext, platform: PlatformResource) -> Iterator[dg.RunRequest]:
        lake = platform.open().lake
        known = lake.partitions(quality_checked.UPSTREAM, dataset.name)
        for partition in weekly(dataset, known):
            yield dg.RunRequest(
                run_key=f"{context.scheduled_execution_time.isoformat()}/{partition}",
                partition_key=partition,
            )

    return weekly_governance


def questions_schedule(job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Mondays at six, when the week's evaluations have opened or closed the gates."""
    return scheduled(
        "weekly_questions",
        SCORECARD_CRON,
        job,
        "Answers the business questions of every dataset from its trusted rows.",
    )


def scorecard_schedule(job: UnresolvedAssetJobDefinition) -> dg.ScheduleDefinition:
    """Mondays at six: an hour is ample for the evaluations, and the scorecard names those that are older."""
    return scheduled(
        "weekly_scorecard",
        SCORECARD_CRON,
        job,
        "Scores every dataset and partition, and notifies of the gates that stand closed.",
    )
