"""What a layer works with: one set of adapters, chosen by the deployment."""

from dataclasses import dataclass

from city_platform.engines.duckdb import DuckDBEngine
from city_platform.governance.audit import AuditLog
from city_platform.lake.lake import Lake
from city_platform.ports import Catalog, Clock, KeyService, Notifier


@dataclass(frozen=True, slots=True)
class Platform:
    """The adapters of one deployment. Making one opens no connection and reads no secret."""

    lake: Lake
    engine: DuckDBEngine
    keys: KeyService
    clock: Clock
    notifier: Notifier
    catalog: Catalog

    @property
    def audit(self) -> AuditLog:
        """Who decided what, in the same store as the data it is about."""
        return AuditLog(self.lake.store, self.clock)
