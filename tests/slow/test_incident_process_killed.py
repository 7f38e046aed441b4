"""`city-platform incidents process` killed in the middle, while people report: nothing is lost, nothing twice.

One process takes changes from the store's stream and exports them, so that a kill hits either.
"""

import asyncio
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq

from city_platform.local.clock import SystemClock
from city_platform.local.incidents import SqliteIncidentRepository
from city_platform.local.platform import local_platform
from tests.patience import PATIENCE_S, until
from tests.served import Told, report_from_many, served
from tests.town import ROOT

# The command itself, which dies as by a power cut before or after its nth call of what makes one side effect. A dead
# export keeps its lock for a minute; seconds are enough here, so that the next one need not wait so long.
WORKER = textwrap.dedent(
    """
    import os, signal, sys
    from datetime import timedelta
    from city_platform.cli import main
    from city_platform.incidents import export, segments
    from city_platform.lake.lake import Lake
    from city_platform.local.incidents import SqliteIncidentRepository

    owner, name, deadly, moment = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    IncidentExport = export.IncidentExport
    classes = (IncidentExport, segments.Segments, Lake, SqliteIncidentRepository)
    kind = {one.__name__: one for one in classes}[owner]
    plain, calls = getattr(kind, name), 0

    def counted(*arguments, **options):
        global calls
        calls += 1
        if calls == deadly and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = plain(*arguments, **options)
        if calls == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(kind, name, counted)
    export.IncidentExport = lambda *parts: IncidentExport(*parts[:-1], timedelta(seconds=3))
    sys.argv = ["city-platform", *sys.argv[5:]]
    main()
    """
)
# What makes a side effect of the stream's half and of the export, in the order in which they happen.
MOMENTS = [
    ("Segments", "write", 1, "after"),  # written, and nobody knows of it
    ("SqliteIncidentRepository", "set_checkpoint", 1, "before"),  # announced, and delivered again
    ("SqliteIncidentRepository", "set_checkpoint", 1, "after"),
    ("IncidentExport", "lock", 1, "after"),
    ("IncidentExport", "export", 1, "after"),  # files that no manifest names
    ("Lake", "publish", 1, "before"),
    ("Lake", "publish", 1, "after"),  # visible, and its jobs still wait
    ("Segments", "remove", 1, "after"),
    ("IncidentExport", "unlock", 1, "before"),
    ("SqliteIncidentRepository", "forget_changes", 1, "before"),
    ("SqliteIncidentRepository", "forget_changes", 1, "after"),
]


def start(home: Path, owner: str, name: str, deadly: int, moment: str, *options: str) -> "subprocess.Popen[bytes]":
    words = [owner, name, str(deadly), moment, "incidents", "process", "--home", str(home), *options]
    with (home.parent / "process.log").open("a") as log:
        return subprocess.Popen([sys.executable, "-c", WORKER, *words], cwd=ROOT, stdout=log, stderr=log)


def exported(home: Path) -> Counter[str]:
    """How often each change is in the export's newest manifests."""
    lake = local_platform(home).lake
    names: Counter[str] = Counter()
    for day in lake.partitions("exports", "incidents"):
        for file in lake.paths(lake.require("exports", "incidents", day), "parquet"):
            names.update(pq.read_table(file, columns=["event_id"])["event_id"].to_pylist())
    return names


@contextmanager
def reporting(address: str, told: Told, seed: int) -> Iterator[None]:
    """Reports from several people while the body runs, and until they are done."""
    people = report_from_many(address, clients=8, each=12, told=told, seed=seed)
    thread = threading.Thread(target=lambda: asyncio.run(people))
    thread.start()
    try:
        yield
    finally:
        thread.join()


def test_every_accepted_report_is_exported_exactly_once_whenever_the_process_is_killed(tmp_path: Path) -> None:
    home, told = tmp_path / "home", Told()
    with served(home) as api:
        for seed, moment in enumerate(MOMENTS):
            with reporting(api.address, told, seed):
                killed = start(home, *moment, "--every", "1", "--rows", "20")
                assert killed.wait(PATIENCE_S) == -signal.SIGKILL, (moment, (tmp_path / "process.log").read_text())
        for seed in range(3):  # and from outside, at no moment in particular
            with reporting(api.address, told, 100 + seed):
                running = start(home, "Lake", "publish", 0, "", "--every", "1", "--rows", "20")
                time.sleep(4 + 0.7 * seed)
                running.kill()
                assert running.wait(PATIENCE_S) == -signal.SIGKILL
    assert told.other == []
    assert len(told.accepted) == (len(MOMENTS) + 3) * 8 * 12

    store = SqliteIncidentRepository(home / "incidents" / "incidents.sqlite", SystemClock())
    assert all(store.get(one) is not None for one in told.accepted)
    expected = Counter(f"{one}.1.INSERT" for one in told.accepted)

    def all_exported() -> bool:
        # Jobs that died with their export come back after a while: until then there is nothing to do, or its lock held.
        done = start(home, "Lake", "publish", 0, "", "--once")
        assert done.wait(PATIENCE_S) in {0, 4}, (tmp_path / "process.log").read_text()
        return exported(home) == expected

    until(all_exported)
