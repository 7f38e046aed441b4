"""What a layer works with: one set of adapters, chosen by the deployment."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from city_platform.governance.audit import AuditLog
from city_platform.lake.lake import Lake
from city_platform.layers.computing import Engines
from city_platform.ports import Catalog, Clock, KeyService, Notifier

if TYPE_CHECKING:
    from city_platform.engines.duckdb import DuckDBEngine
    from city_platform.engines.spark_connect import SparkEngine


@dataclass(frozen=True, slots=True)
class Platform:
    """The adapters of one deployment. Making one opens no connection and reads no secret.

    `spark` computes partitions of many rows, if it is there; `engines` tells what computed what.
    """

    lake: Lake
    open_engine: "Callable[[], DuckDBEngine]"
    keys: KeyService
    clock: Clock
    notifier: Notifier
    catalog: Catalog
    spark: "SparkEngine | None" = None
    engines: Engines = field(default_factory=Engines, compare=False, repr=False)

    @property
    def engine(self) -> "DuckDBEngine":
        """What queries. Imported at the first use: most of an API and of the functions on AWS never ask for it."""
        return self.open_engine()

    @property
    def audit(self) -> AuditLog:
        """Who decided what, in the same store as the data it is about."""
        return AuditLog(self.lake.store, self.clock)
