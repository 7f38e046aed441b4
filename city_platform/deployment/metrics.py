"""Where the figures of runs and data go: a file of this machine, or CloudWatch."""

import os
from collections.abc import Mapping
from pathlib import Path

from city_platform.deployment import deployment
from city_platform.local.metrics import FileMetrics
from city_platform.local.rotated_file import RotatedFile
from city_platform.ports import Metrics

ENVIRONMENT = "CITY_PLATFORM_ENVIRONMENT"  # dev, staging or prod: which deployment on AWS the figures are of


def open_metrics(home: Path, environ: Mapping[str, str] = os.environ) -> Metrics:
    """`HOME/metrics.jsonl`, or CloudWatch on AWS. Opens nothing. Raises UnknownDeployment, IncompleteSettings."""
    if deployment(environ) == "local":
        return FileMetrics(RotatedFile(home / "metrics.jsonl"))
    from city_platform.aws.metrics import CloudWatchMetrics, cloudwatch_client
    from city_platform.aws.settings import REGION, IncompleteSettings

    name = environ.get(ENVIRONMENT)
    if not name:
        raise IncompleteSettings(f"metrics on AWS need in their environment: {ENVIRONMENT} (dev, staging or prod)")
    return CloudWatchMetrics(name, lambda: cloudwatch_client(environ.get(REGION)))
