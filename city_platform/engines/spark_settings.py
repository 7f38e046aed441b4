"""What the environment says of Spark."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from city_platform.errors import PermanentError

if TYPE_CHECKING:
    from city_platform.engines.spark_connect import SparkEngine

SPARK = "CITY_PLATFORM_SPARK"
SPARK_ROWS = "CITY_PLATFORM_SPARK_ROWS"
SPARK_TOKEN = "CITY_PLATFORM_SPARK_TOKEN"  # noqa: S105 -- the name of a variable
LEAST_ROWS = 20_000_000  # fewer are sooner done on one machine: docs/decisions/0037-spark.md
_LONGEST = 12


class InvalidSparkSettings(PermanentError):
    """The environment names a Spark in a way that cannot be meant; the message says each mistake."""


@dataclass(frozen=True, slots=True)
class SparkSettings:
    """A Spark Connect server as `sc://host:port`, and from how many rows of a partition it is asked.

    `address` holds no token: that comes in a variable of its own, so that the address can be shown.
    """

    address: str
    least_rows: int
    token: str | None = None

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "SparkSettings | None":
        """None where no Spark is named. Raises InvalidSparkSettings with all mistakes."""
        address = environ.get(SPARK, "").strip()
        if not address:
            return None
        rows = environ.get(SPARK_ROWS) or str(LEAST_ROWS)
        problems = []
        if not rows.isascii() or not rows.isdecimal() or len(rows) > _LONGEST:
            problems.append(f"{SPARK_ROWS}={rows!r} is no number of rows: write one as 20000000")
        if "token=" in address.lower() or "@" in address:
            problems.append(f"{SPARK} holds a secret: leave it out and set {SPARK_TOKEN}")
        elif not _is_server(address):
            problems.append(f"{SPARK}={address!r} is no address: write one as sc://host:15002")
        if problems:
            raise InvalidSparkSettings("; ".join(problems))
        return cls(address, int(rows), environ.get(SPARK_TOKEN) or None)

    def engine(self) -> "SparkEngine":
        """What asks the server. Opens no connection."""
        from city_platform.engines.spark_connect import SparkEngine

        return SparkEngine(self.url, self.address, self.least_rows)

    def url(self) -> str:
        """The address with its token, which is sent over TLS alone."""
        if self.token is None:
            return self.address
        return f"{self.address.rstrip('/')}{'/' if ';' not in self.address else ''};use_ssl=true;token={self.token}"


def _is_server(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return parts.scheme == "sc" and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
