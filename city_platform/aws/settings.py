"""What a deployment on AWS has to say of itself, read from the environment at once."""

from collections.abc import Mapping
from dataclasses import dataclass

from city_platform.engines.spark_settings import SparkSettings
from city_platform.errors import PermanentError
from city_platform.lake.zones import Zone

BUCKETS: Mapping[Zone, str] = {zone: f"CITY_PLATFORM_{zone.name}_BUCKET" for zone in Zone}
ALERTS_TOPIC = "CITY_PLATFORM_ALERTS_TOPIC"
REGION = "AWS_REGION"
TRAFFIC_TABLE = "CITY_PLATFORM_TRAFFIC_TABLE"
TRAFFIC_STREAM = "CITY_PLATFORM_TRAFFIC_STREAM"
EVENT_BUS = "CITY_PLATFORM_EVENT_BUS"
SPARK_ROLE = "CITY_PLATFORM_SPARK_ROLE"


class IncompleteSettings(PermanentError):
    """Something this deployment needs is not said; the message names everything that is missing."""


@dataclass(frozen=True, slots=True)
class AwsSettings:
    """The lake's buckets, the SNS topic that people listen to, the region; `endpoint` only where AWS is emulated.

    `spark` computes partitions of many rows, if it is named; `spark_role` is the ARN of what it reads as.
    """

    buckets: Mapping[Zone, str]
    alerts_topic: str
    region: str
    endpoint: str | None = None
    spark: SparkSettings | None = None
    spark_role: str = ""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "AwsSettings":
        """Raises IncompleteSettings, InvalidSparkSettings.

        Credentials are not among them: they come as AWS clients find them.
        """
        needed = {name: f"the bucket of the lake's {zone} zone" for zone, name in BUCKETS.items()}
        needed[ALERTS_TOPIC] = "the ARN of the SNS topic for alerts"
        missing = [f"{name} ({what})" for name, what in needed.items() if not environ.get(name)]
        region = environ.get(REGION) or environ.get("AWS_DEFAULT_REGION")
        if not region:
            missing.append(f"{REGION} (the region of all)")
        spark = SparkSettings.of(environ, applications=True)
        role = environ.get(SPARK_ROLE, "")
        if spark is not None and not spark.is_server and not role:
            missing.append(f"{SPARK_ROLE} (the ARN of the role that Spark reads the lake as)")
        if missing or region is None:
            raise IncompleteSettings(f"a deployment on AWS needs in its environment: {', '.join(missing)}")
        buckets = {zone: environ[name] for zone, name in BUCKETS.items()}
        return cls(buckets, environ[ALERTS_TOPIC], region, environ.get("AWS_ENDPOINT_URL") or None, spark, role)
