"""The platform on AWS: the lake in S3, keys in KMS, notifications through SNS, the catalog in Glue."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from city_platform.aws.catalog import GlueCatalog, glue_client
from city_platform.aws.keys import KmsKeyService, kms_client
from city_platform.aws.notifier import SnsNotifier, sns_client
from city_platform.aws.settings import AwsSettings
from city_platform.aws.store import S3ObjectStore
from city_platform.engines.spark_settings import SparkSettings
from city_platform.lake.lake import Lake
from city_platform.layers.platform import Platform
from city_platform.ports import Clock

if TYPE_CHECKING:
    from city_platform.engines.duckdb import DuckDBEngine


def aws_platform(home: Path, settings: AwsSettings, clock: Clock, *, spark: SparkSettings | None = None) -> Platform:
    """The adapters of one AWS deployment; `home` is the folder of this machine for caches and unfinished files."""

    def open_engine() -> "DuckDBEngine":
        from city_platform.engines.duckdb import DuckDBEngine

        cache = home / "cache"
        return DuckDBEngine(cache / "scratch" / "engine", (cache,), threads=os.cpu_count() or 2)

    return Platform(
        lake=Lake(
            S3ObjectStore(settings.buckets, home / "cache", s3_config(settings.region, settings.endpoint)), clock
        ),
        open_engine=open_engine,
        keys=KmsKeyService(lambda: kms_client(settings.region, settings.endpoint)),
        clock=clock,
        notifier=SnsNotifier(settings.alerts_topic, lambda: sns_client(settings.region, settings.endpoint)),
        catalog=GlueCatalog(lambda: glue_client(settings.region, settings.endpoint)),
        spark=spark.engine() if spark else None,
    )


def s3_config(region: str, endpoint: str | None) -> dict[str, Any]:
    """What obstore has to know of S3; `endpoint` only where it is emulated."""
    config: dict[str, Any] = {"region": region}
    if endpoint is not None:
        config |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
        config["client_options"] = {"allow_http": endpoint.startswith("http://")}
    return config
