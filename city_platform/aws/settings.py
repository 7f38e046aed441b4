"""What a deployment on AWS has to say of itself, read from the environment at once."""

from collections.abc import Mapping
from dataclasses import dataclass

from city_platform.errors import PermanentError
from city_platform.lake.zones import Zone

BUCKETS: Mapping[Zone, str] = {zone: f"CITY_PLATFORM_{zone.name}_BUCKET" for zone in Zone}
ALERTS_TOPIC = "CITY_PLATFORM_ALERTS_TOPIC"
REGION = "AWS_REGION"
TRAFFIC_TABLE = "CITY_PLATFORM_TRAFFIC_TABLE"
TRAFFIC_STREAM = "CITY_PLATFORM_TRAFFIC_STREAM"
EVENT_BUS = "CITY_PLATFORM_EVENT_BUS"


class IncompleteSettings(PermanentError):
    """Something this deployment needs is not said; the message names everything that is missing."""


@dataclass(frozen=True, slots=True)
class AwsSettings:
    """The lake's buckets, the SNS topic that people listen to, the region; `endpoint` only where AWS is emulated."""

    buckets: Mapping[Zone, str]
    alerts_topic: str
    region: str
    endpoint: str | None = None

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "AwsSettings":
        """Raises IncompleteSettings. Credentials are not among them: they come as AWS clients find them."""
        needed = {name: f"the bucket of the lake's {zone} zone" for zone, name in BUCKETS.items()}
        needed[ALERTS_TOPIC] = "the ARN of the SNS topic for alerts"
        missing = [f"{name} ({what})" for name, what in needed.items() if not environ.get(name)]
        region = environ.get(REGION) or environ.get("AWS_DEFAULT_REGION")
        if not region:
            missing.append(f"{REGION} (the region of all)")
        if missing or region is None:
            raise IncompleteSettings(f"a deployment on AWS needs in its environment: {', '.join(missing)}")
        buckets = {zone: environ[name] for zone, name in BUCKETS.items()}
        return cls(buckets, environ[ALERTS_TOPIC], region, environ.get("AWS_ENDPOINT_URL") or None)
