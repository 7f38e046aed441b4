"""Runs the code location from the command line: partitions in this process, the web interface as child processes."""

import os
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import dagster as dg
import yaml
from dagster._cli.proxy_server_manager import ProxyServerManager  # what `dagster dev` starts code servers with
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.workspace.load_target import WorkspaceFileTarget

from assets.jobs import layer_selection, materialization_job_name
from city_platform.catalog.handbook.flows import Automation, DataFlow, FlowAsset
from city_platform.local.children import run_together
from city_platform.orchestration import PartitionRun
from definitions import ROOT, build_definitions
from resources.event_log import instance_ref
from resources.run_launcher import ForkingRunLauncher, Work

_RUNS_ASKED = 100  # of one partition, the newest
HOST = "127.0.0.1"  # the web server has no authentication: never another address
_INSTANCE_SETTINGS = f"""\
nux:
  enabled: false
telemetry:
  enabled: false
concurrency:
  runs:
    max_concurrent_runs: 2
run_queue:
  dequeue_interval_seconds: 1
run_monitoring:
  enabled: true
retention:
  sensor:
    purge_after_days: {{skipped: 7, success: 30}}
  schedule:
    purge_after_days: {{skipped: 7}}
run_launcher:
  module: {ForkingRunLauncher.__module__}
  class: {ForkingRunLauncher.__name__}
"""


class DagsterOrchestrator:
    """The orchestrator port, by Dagster, over an instance kept below the platform's home."""

    def materialize(
        self, home: Path, dataset: str, partition: str, layers: Sequence[str], on_layer: Callable[[str], None]
    ) -> PartitionRun:
        run_id = str(uuid.uuid4())
        instance = _instance(home)

        def heard(entry: dg.EventLogEntry) -> None:
            event = entry.dagster_event
            if event is not None and event.is_step_materialization and event.asset_key is not None:
                layer = event.asset_key.path[-1]
                if layer in layers:
                    on_layer(layer)

        instance.add_event_listener(run_id, heard)
        started = time.monotonic()
        job = _definitions(home).resolve_job_def(materialization_job_name(dataset))
        with Work.of(_dagster_home(home), run_id).held():
            result = job.execute_in_process(
                run_id=run_id,
                instance=instance,
                partition_key=partition,
                asset_selection=layer_selection(dataset, layers),
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                raise_on_error=False,
            )
        failure = None if result.success else _failure(result)
        return PartitionRun(run_id, dataset, partition, time.monotonic() - started, failure)

    def observe(self, home: Path, dataset: str, layer: str, partition: str, facts: Mapping[str, str]) -> None:
        observed = dg.AssetObservation(
            asset_key=dg.AssetKey([dataset, layer]),
            partition=partition,
            metadata={name: dg.MetadataValue.text(fact) for name, fact in facts.items()},
        )
        _instance(home).report_runless_asset_event(observed)

    def run_that_made(self, home: Path, dataset: str, layer: str, partition: str | None, version: str) -> str | None:
        if not (_dagster_home(home) / "dagster.yaml").exists():
            return None  # nothing ran here, and asking makes nothing
        records = dg.AssetRecordsFilter(
            asset_key=dg.AssetKey([dataset, layer]), asset_partitions=[partition] if partition else None
        )
        made = _instance(home).fetch_materializations(records, limit=_RUNS_ASKED).records
        runs = [one.run_id for one in made if _version(one) == version]
        return runs[-1] if runs else None

    def data_flow(self, home: Path) -> DataFlow:
        return _data_flow(home)

    def serve(self, home: Path, port: int) -> int:
        os.environ |= {
            "DAGSTER_HOME": str(_dagster_home(home)),
            "CITY_PLATFORM_HOME": str(home),
            "PYTHONTZPATH": "",  # as in city_platform/__init__.py, for the daemon, which ticks without importing us
        }
        # One code server for both, as `dagster dev` has it: each would load the code location for itself.
        target = WorkspaceFileTarget([str(ROOT / "workspace.yaml")])
        with ProxyServerManager(_instance(home), target) as servers, tempfile.TemporaryDirectory() as folder:
            workspace = Path(folder, "workspace.yaml")
            workspace.write_text(yaml.safe_dump({"load_from": servers.get_code_server_specs()}), encoding="utf-8")
            commands = (
                ["dagster_webserver", "-h", HOST, "-p", str(port), "-w", str(workspace)],
                ["dagster._daemon", "run", "-w", str(workspace)],
            )
            return run_together([[sys.executable, "-m", *command] for command in commands], ROOT)


@cache
def _data_flow(home: Path) -> DataFlow:
    """The graph of the definitions and what starts runs, in the order of their names."""
    definitions = _definitions(home)
    graph = definitions.resolve_asset_graph()
    assets = tuple(
        FlowAsset(
            "/".join(node.key.path),
            node.group_name or "",
            tuple(sorted("/".join(key.path) for key in node.parent_keys)),
            node.description or "",
            tuple(sorted(node.kinds)),
            len(node.check_keys),
        )
        for node in sorted(graph.asset_nodes, key=lambda node: tuple(node.key.path))
    )
    repository = definitions.get_repository_def()
    scheduled = [
        _automation(one, f"`{one.cron_schedule}` {one.execution_timezone or 'UTC'}") for one in repository.schedule_defs
    ]
    looking = [_automation(one, f"every {one.minimum_interval_seconds} s") for one in repository.sensor_defs]
    return DataFlow(assets, tuple(sorted((*scheduled, *looking), key=lambda one: one.name)))


def _automation(one: dg.ScheduleDefinition | dg.SensorDefinition, when: str) -> Automation:
    running = one.default_status in {dg.DefaultScheduleStatus.RUNNING, dg.DefaultSensorStatus.RUNNING}
    return Automation(one.name, when if running else f"{when}, once switched on", one.description or "")


def _version(record: dg.EventLogRecord) -> str | None:
    """The lake's version that a materialization made."""
    made = record.asset_materialization
    return (made.tags or {}).get(DATA_VERSION_TAG) if made is not None else None


_CHECK_FAILED = "DagsterAssetCheckFailedError"  # what a blocking check raises; not part of Dagster's public names


def _failure(result: dg.ExecuteInProcessResult) -> str:
    """The first failing step in words, without a stack trace."""
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.error is not None and data.error.cls_name == _CHECK_FAILED:
                return _closed(result)
            if data.user_failure_data is not None and data.user_failure_data.description:
                return data.user_failure_data.description
            return (data.error.message if data.error is not None else "the step failed").strip()
    return "the run failed before its first step"


def _closed(result: dg.ExecuteInProcessResult) -> str:
    """Which rules close the gate, and where to look."""
    closing = [
        one
        for one in result.get_asset_check_evaluations()
        if not one.passed and one.severity is dg.AssetCheckSeverity.ERROR
    ]
    rules = ", ".join(sorted({one.check_name for one in closing}))
    where = " ".join([closing[0].asset_key.path[0], str(closing[0].partition or "PARTITION")]) if closing else "…"
    return f"the gate is closed by {rules}; `city-platform quality review {where}` says why and what can be done"


def _dagster_home(home: Path) -> Path:
    return home / "dagster"


@cache
def _definitions(home: Path) -> dg.Definitions:
    return build_definitions(home)


@cache
def _instance(home: Path) -> dg.DagsterInstance:
    """The instance the web interface shows; its settings are written once and then the operator's to change."""
    os.umask(0o077)  # Dagster, and its child processes, make files with the process's own mode
    folder = _dagster_home(home)
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "dagster.yaml"
    if not settings.exists():
        # Put there whole: an empty one, left by whoever died here, would be taken for the operator's wish.
        unfinished = folder / f".dagster.{os.getpid()}.yaml"
        unfinished.write_text(_INSTANCE_SETTINGS, encoding="utf-8")
        unfinished.replace(settings)
    return dg.DagsterInstance.from_ref(instance_ref(folder))
