"""Launches runs as forks of one process that has the libraries in memory.

Dagster's own launcher starts an interpreter a run, which imports Dagster and the engines before it looks at the code
location: more processor time than a year of data takes. Here Python's fork server has imported them once. The code
location and the datasets' folders are read by each run, as ever: what `Reload definitions` shows is what runs.

A run holds a lock on a file of its own as long as it lives, whoever started it. So any process can tell whether a run
still works, end it, and see that it died; the lock of a dead process is gone, however it died.
"""

import fcntl
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._cli.api import execute_run_command  # what every launcher's container runs
from dagster._config.config_schema import UserConfigSchema
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, RunLauncher, WorkerStatus
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from dagster._serdes import serialize_value as serialized

from resources.event_log import instance_ref

if TYPE_CHECKING:
    _Launcher = RunLauncher[dg.DagsterInstance]
else:
    _Launcher = RunLauncher

# Libraries only: modules of the code location may change while the fork server lives.
_LIBRARIES = (
    *("dagster", "sqlalchemy", "alembic", "duckdb", "sqlglot", "pyarrow.dataset", "pyarrow.parquet", "lark"),
    *("open_data_contract_standard.model", "cryptography.hazmat.primitives.ciphers.aead", "httpx2", __name__),
)


class ForkingRunLauncher(_Launcher, ConfigurableClass):
    """Runs are children of this process's fork server. An instance's settings name it by this module."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        self._inst_data = inst_data
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(_LIBRARIES))
        super().__init__()  # type: ignore[no-untyped-call]  # Dagster gives it no types

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        return {}

    @classmethod
    def from_config_value(
        cls,
        inst_data: ConfigurableClassData,
        config_value: Mapping[str, Any],  # noqa: ARG003 -- there is none
    ) -> "ForkingRunLauncher":
        return cls(inst_data)

    def launch_run(self, context: LaunchRunContext) -> None:
        run, origin, instance = context.dagster_run, context.job_code_origin, self._instance
        if origin is None:
            raise dg.DagsterInvariantViolationError(f"run {run.run_id} does not say where its code is")
        folder = Path(instance.root_directory)
        # Where artifacts are kept elsewhere, the settings do not lie beside them, and the instance is taken as it is.
        ref = instance_ref(folder) if (folder / "dagster.yaml").exists() else instance.get_ref()
        arguments = ExecuteRunArgs(origin, run.run_id, ref, set_exit_code_on_failure=True)
        work = serialized(arguments), self._work(run.run_id)
        process = self._context.Process(target=_execute, args=work, name=f"run {run.run_id}")
        process.start()
        instance.report_engine_event(f"Forked a process for the run (pid: {process.pid}).", run, cls=type(self))
        threading.Thread(target=self._wait, args=(process, run.run_id), name=process.name, daemon=True).start()

    def terminate(self, run_id: str) -> bool:
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        process = self._work(run_id).process()
        if process is None:
            self._instance.report_engine_event("No process of this machine works on the run.", run, cls=type(self))
            return False
        with suppress(ProcessLookupError):  # it ended by itself
            os.kill(process, signal.SIGTERM)
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        work = self._work(run.run_id)
        # A run without a file was started by other means, as by `dagster job execute`: nobody knows better.
        if not work.file.exists() or work.process() is not None:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, "its process is gone")

    def _work(self, run_id: str) -> "Work":
        return Work.of(Path(self._instance.root_directory), run_id)

    def _wait(self, process: ForkServerProcess, run_id: str) -> None:
        """Says so at once when a run's process dies without a word, as by the kernel's hand for want of memory."""
        process.join()
        run = self._instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            self._instance.report_run_failed(run, f"The run's process ended with exit code {process.exitcode}.")
        self._work(run_id).file.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Work:
    """That a process works on a run: it holds the lock of this file, which has its id."""

    file: Path

    @classmethod
    def of(cls, instance: Path, run_id: str) -> "Work":
        """The work on a run of the instance that is kept in a folder."""
        return cls(instance / "running" / run_id)

    @contextmanager
    def held(self) -> Iterator[None]:
        """This process works on the run. Where it is killed, the file stays behind with nobody's lock on it."""
        self.file.parent.mkdir(mode=0o700, exist_ok=True)
        with self.file.open("w", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(str(os.getpid()))
            file.flush()
            try:
                yield
            finally:
                self.file.unlink()

    def process(self) -> int | None:
        """The id of the process that works on the run; None where none does."""
        try:
            with self.file.open(encoding="ascii") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(self.file.read_text(encoding="ascii") or 0) or None
        except FileNotFoundError:
            return None
        return None


def _execute(arguments: str, work: Work) -> None:
    """A run, from its first to its last event."""
    with work.held():
        execute_run_command.main([arguments], prog_name="dagster", standalone_mode=False)
