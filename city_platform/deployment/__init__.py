"""Which set of adapters this process works with: the embedded default, or AWS."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from city_platform.engines.spark_settings import SparkSettings
from city_platform.errors import PermanentError
from city_platform.ports import Clock

if TYPE_CHECKING:
    from city_platform.layers.platform import Platform

DEPLOYMENT = "CITY_PLATFORM_DEPLOYMENT"
DEPLOYMENTS = ("local", "aws")
PUBLIC_URL = "CITY_PLATFORM_PUBLIC_URL"  # where readers find the API
ALLOWED_ORIGINS = "CITY_PLATFORM_ALLOWED_ORIGINS"  # other sites whose pages may use the API, with blanks between


class UnknownDeployment(PermanentError):
    """The environment names a deployment there is none of."""


def open_platform(home: Path, environ: Mapping[str, str] = os.environ, clock: Clock | None = None) -> "Platform":
    """The adapters that `CITY_PLATFORM_DEPLOYMENT` names: `local` (also where it says nothing) or `aws`.

    Dev, staging and production are the same set with other settings. Cheap: opens no connection. Raises
    UnknownDeployment, IncompleteSettings, InvalidSparkSettings.
    """
    spark = SparkSettings.of(environ)
    # Who opens no platform carries neither its engine nor its clients: a bundle of Lambda holds 250 MB.
    if deployment(environ) == "local":
        from city_platform.local.platform import local_platform

        return local_platform(home, clock, spark=spark)
    from city_platform.aws.platform import aws_platform
    from city_platform.aws.settings import AwsSettings
    from city_platform.local.clock import SystemClock

    return aws_platform(home, AwsSettings.of(environ), clock or SystemClock(), spark=spark)


def deployment(environ: Mapping[str, str]) -> str:
    """The name of the deployment, one of DEPLOYMENTS; raises UnknownDeployment."""
    name = environ.get(DEPLOYMENT) or "local"
    if name not in DEPLOYMENTS:
        raise UnknownDeployment(f"{DEPLOYMENT}={name!r} is none of: {', '.join(DEPLOYMENTS)}")
    return name
