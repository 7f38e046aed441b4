"""The embedded default: everything below one folder of this machine."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from city_platform.engines.spark_settings import SparkSettings
from city_platform.lake.lake import Lake
from city_platform.layers.platform import Platform
from city_platform.local.catalog import StoredCatalog
from city_platform.local.clock import SystemClock
from city_platform.local.keys import LocalKeyService
from city_platform.local.notifier import FileNotifier
from city_platform.local.store import LocalObjectStore
from city_platform.ports import Clock

if TYPE_CHECKING:
    from city_platform.engines.duckdb import DuckDBEngine


def local_platform(
    home: Path, clock: Clock | None = None, *, threads: int | None = None, spark: SparkSettings | None = None
) -> Platform:
    """The adapters over `home`: `lake/` for objects, `keys.json`, `notifications.jsonl`."""
    time = clock or SystemClock()
    store = LocalObjectStore(home / "lake")

    def open_engine() -> "DuckDBEngine":
        from city_platform.engines.duckdb import DuckDBEngine

        lake = home / "lake"
        return DuckDBEngine(lake / "scratch" / "engine", (lake,), threads=threads or os.cpu_count() or 2)

    return Platform(
        lake=Lake(store, time),
        open_engine=open_engine,
        keys=local_key_service(home),
        clock=time,
        notifier=FileNotifier(home / "notifications.jsonl", time),
        catalog=StoredCatalog(store),
        spark=spark.engine() if spark else None,
    )


def local_key_service(home: Path) -> LocalKeyService:
    """The keys below `home`."""
    return LocalKeyService(home / "keys" / "keys.json")
