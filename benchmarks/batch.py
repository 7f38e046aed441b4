"""The batch path measured in one run: raw CSV of generated licences to the curated summary.

    uv run --group bench python benchmarks/batch.py --rows 1_000_000 --rows 10_000_000

Each contestant is a process of its own, so that peak memory is its own too (the largest resident set of the process
and its children, sampled and from the kernel's accounting). Printed are rows/s, peak memory and ratios against
    scan      DuckDB merely reading every column of the same CSV: the physical limit of this engine,
    bare      the same recipe, rules and summary as queries of this engine over the whole file at once and nothing else:
              no copy, no years, no row numbers, nothing kept of what is held back: what the logic alone costs,
    pandas    the same logic as its users write it,
    pyspark   the same logic in PySpark, local[2]; with --spark also the platform itself with its work on Spark.
Dagster's overhead is measured apart: the same partitions materialized through the code location.

On a machine that does other things too, the ratio of processor seconds says more than that of seconds. Scan, bare
and platform take turns, so that all see the same machine; of each the best run counts.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from city_platform.engines.spark_connect import SparkEngine

ROOT = Path(__file__).parents[1]
PEERS = ROOT / "benchmarks" / "peers"
REPEATS = 3
IN_TURN = ("scan", "bare", "platform")
WORKERS = 2  # years at a time, as many as Dagster's daemon runs side by side
OUTCOME = ("passed", "failed", "duplicates", "untyped", "register", "summary_rows")
PEER_ROWS = 1_000_000  # pandas and PySpark are not asked for more: minutes and tens of gigabytes


@dataclass(frozen=True)
class Measured:
    """One contestant's best run. `peak` is in bytes."""

    name: str
    seconds: float
    processor: float | None  # seconds of all threads; peers do not tell
    peak: int
    facts: Mapping[str, object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=lambda text: int(text.replace("_", "")), action="append")
    parser.add_argument("--without-peers", action="store_true", help="only the scan and the platform")
    parser.add_argument("--spark", action="store_true", help="the platform with its work on Spark, too; wants Java")
    parser.add_argument("--keep", type=Path, help="a folder to keep the generated files in between calls")
    options = parser.parse_args()
    folder = Path(options.keep or tempfile.mkdtemp(prefix="batch-benchmark-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for rows in options.rows or [1_000_000]:
            contest(rows, folder, peers=not options.without_peers, spark=options.spark)
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)


def contest(rows: int, folder: Path, *, peers: bool, spark: bool) -> None:
    """Measures everybody on one file and prints the table."""
    from city_platform.samples import generate

    file = folder / f"licences-{rows}.csv"
    if not file.exists():
        started = time.perf_counter()
        generate("business_licences", file, rows=rows, seed=7)
        seconds = time.perf_counter() - started
        print(f"generated {rows:,} rows, {file.stat().st_size / 1e6:,.0f} MB, {rows / seconds:,.0f} rows/s")
    names = ("scan", "bare", "platform", "dagster", "on-spark")
    own = {name: [sys.executable, __file__, f"--{name}", str(file)] for name in names}
    turns = [{name: measure(name, own[name]) for name in IN_TURN} for _ in range(REPEATS)]
    results = [best([turn[name] for turn in turns]) for name in IN_TURN]
    results.append(measure("platform, through Dagster", own["dagster"]))
    if spark:
        results.append(measure("platform, on Spark local[2]", own["on-spark"]))
    if peers and rows <= PEER_ROWS:
        for name in ("pandas", "pyspark"):
            with tempfile.TemporaryDirectory() as target:
                command = [sys.executable, str(PEERS / f"{name}_peer.py"), str(file), target]
                results.append(measure(name, command))
    show(rows, results)
    refuse_other_work(results)


def refuse_other_work(results: list[Measured]) -> None:
    """A contestant that comes to other numbers did other work, and its time says nothing."""
    for name in OUTCOME:
        found = {one.name: one.facts[name] for one in results if name in one.facts}
        if len(set(found.values())) > 1:
            raise SystemExit(f"they do not agree about {name}: {found}")


def best(runs: list[Measured]) -> Measured:
    """The fastest run with the fewest processor seconds and the largest memory of any."""
    fastest = min(runs, key=lambda run: run.seconds)
    processor = min(run.processor or 0.0 for run in runs)
    return replace(fastest, processor=processor, peak=max(run.peak for run in runs))


def measure(name: str, command: list[str]) -> Measured:
    """Runs one contestant; it prints one JSON line with its own `seconds`, without start-up."""
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    peak = Peak(child.pid)
    output, _ = child.communicate()
    if child.returncode:
        raise SystemExit(f"{name} failed with exit code {child.returncode}")
    facts = json.loads(output.strip().splitlines()[-1])
    return Measured(name, facts.pop("seconds"), facts.pop("processor", None), peak.stop(), facts)


class Peak:
    """The largest sum of resident sets of a process and its descendants, sampled every 20 ms from /proc."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._largest = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        self._over.set()
        self._thread.join()
        return self._largest

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self._largest = max(self._largest, sum(_resident(pid) for pid in _family(self._pid)))


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return [pid]
    return [pid, *(member for child in children for member in _family(int(child)))]


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def show(rows: int, results: list[Measured]) -> None:
    scan = next(one for one in results if one.name == "scan")
    platform = next(one for one in results if one.name == "platform")
    print(f"\n{rows:,} rows, {os.cpu_count()} cores")
    print(f"{'':28}{'seconds':>9}{'rows/s':>12}{'peak GB':>9}{'x scan':>8}{'platform is':>14}{'cpu s':>9}{'x scan':>8}")
    for one in results:
        faster = one.seconds / platform.seconds
        print(
            f"{one.name:28}{one.seconds:9.2f}{rows / one.seconds:12,.0f}{one.peak / 1e9:9.2f}"
            f"{one.seconds / scan.seconds:8.1f}{faster:13.1f}x"
            + (f"{one.processor:9.2f}{one.processor / scan.processor:8.1f}" if one.processor and scan.processor else "")
        )
    for one in results:
        print(f"  {one.name}: {json.dumps(one.facts)}")


def contestant(run: Callable[[Path], Mapping[str, object]], file: Path) -> None:
    print(json.dumps(run(file)))


def scan(file: Path) -> Mapping[str, object]:
    """Every column of the CSV read and looked at once."""
    import duckdb

    connection = duckdb.connect(config={"threads": os.cpu_count() or 2, "memory_limit": "512MB"})
    source = f"read_csv('{file}', delim=';', header=true, all_varchar=true)"
    names = [column[0] for column in connection.execute(f"SELECT * FROM {source} LIMIT 0").description or []]
    looked_at = ", ".join(f'max("{name}")' for name in names)
    started, processor = time.perf_counter(), time.process_time()
    connection.execute(f"SELECT {looked_at} FROM {source}").fetchall()
    return {"seconds": time.perf_counter() - started, "processor": time.process_time() - processor}


def bare(file: Path) -> Mapping[str, object]:
    """The logic alone: typed rows to one file, repeated keys counted, rules, failed rows, summary."""
    from datetime import UTC, datetime

    from city_platform.cleaning.compile import cleaning_select
    from city_platform.datasets import load_datasets
    from city_platform.engines.duckdb import DuckDBEngine
    from city_platform.ingestion.formats import recognise
    from city_platform.ingestion.headers import match_headers, named_headers
    from city_platform.quality.evaluate import evaluate

    dataset = next(one for one in load_datasets(ROOT / "datasets") if one.name == "business_licences")
    contract = dataset.contract
    present = match_headers(named_headers(recognise(file).headers), contract).present
    columns = {column.name: column.sql_type for column in contract.columns}
    with tempfile.TemporaryDirectory() as home:
        cleaned, failed = Path(home) / "cleaned.parquet", Path(home) / "failed.parquet"
        engine = DuckDBEngine(Path(home), (file,))
        started, processor = time.perf_counter(), time.process_time()
        with engine.session() as session:
            text, key = session.dialect.text, ", ".join(session.dialect.name(column.name) for column in contract.key)
            source = f"read_csv({text(str(file))}, delim=';', header=true, all_varchar=true)"
            session.execute(f"CREATE TEMP VIEW source AS SELECT *, 0::BIGINT AS _row FROM {source}")
            recipe = cleaning_select(dataset.recipe, contract, session.dialect, present, "source", source_index=0)
            session.execute(f"COPY ({recipe}) TO {text(str(cleaned))} (FORMAT parquet, COMPRESSION zstd)")
            session.view("rows", [cleaned])
            session.rows(f"SELECT {key} FROM rows GROUP BY ALL HAVING count(*) > 1")
            found = evaluate(session, "rows", dataset.rules, columns, datetime.now(UTC))
            tagged = f"SELECT * FROM (SELECT *, {found.failed_rules_sql} AS failed FROM rows) WHERE failed IS NOT NULL"
            session.execute(f"COPY ({tagged}) TO {text(str(failed))} (FORMAT parquet)")
            session.execute("CREATE TEMP VIEW trusted AS FROM rows")
            session.execute("SET VARIABLE report_date = DATE '2026-01-01'")
            session.rows(dataset.curated_sql.rstrip().removesuffix(";"))
        return {"seconds": time.perf_counter() - started, "processor": time.process_time() - processor}


def platform(file: Path, spark: "SparkEngine | None" = None) -> Mapping[str, object]:
    """Raw CSV to curated, layer by layer, without Dagster; copying the bytes into the lake is shown apart."""
    from city_platform.datasets import load_datasets
    from city_platform.layers import cleaned, curated, freshness, landing, quality_checked, raw
    from city_platform.local.platform import local_platform

    with tempfile.TemporaryDirectory() as home:
        adapters = replace(local_platform(Path(home)), spark=spark)
        dataset = next(one for one in load_datasets(ROOT / "datasets") if one.name == "business_licences")
        parts: dict[str, float] = {}

        def timed(name: str, work: Callable[[], object]) -> object:
            started = time.perf_counter()
            result = work()
            parts[name] = parts.get(name, 0.0) + time.perf_counter() - started
            return result

        processor = time.process_time()
        timed("landing", lambda: landing.land(adapters, dataset, file))
        years = freshness.partitions(adapters, dataset)

        def year_through(year: str) -> None:
            for layer in (raw, cleaned, quality_checked, curated):
                timed(layer.LAYER, partial(layer.materialize, adapters, dataset, year))

        started = time.perf_counter()
        with ThreadPoolExecutor(WORKERS) as workers:
            list(workers.map(year_through, years))
        to_curated = parts["landing"] + time.perf_counter() - started
        processor = time.process_time() - processor
        checked = [adapters.lake.require("quality_checked", dataset.name, year) for year in years]
        cleaned_counts = [adapters.lake.require("cleaned", dataset.name, year).counts for year in years]

        def rows(layer: str) -> int:
            return sum(adapters.lake.require(layer, dataset.name, year).counts["rows"] for year in years)

        return {
            "seconds": to_curated,
            "processor": processor,
            "years": len(years),
            "passed": sum(one.counts["rows"] for one in checked),
            "failed": sum(one.counts["failed"] for one in checked),
            "duplicates": sum(one["duplicates"] for one in cleaned_counts),
            "untyped": sum(one["untyped_values"] for one in cleaned_counts),
            "register": rows("rejected"),
            "summary_rows": rows("curated"),
            "parts": {name: round(seconds, 2) for name, seconds in parts.items()},
        }


def on_spark(file: Path) -> Mapping[str, object]:
    """The same through Spark Connect, local[2]: the server is a child of this process, its start is not counted."""
    sys.path[0] = str(ROOT)  # this folder has a `profile`, which Spark's client takes for Python's own
    from tests.spark_server import spark_server

    with tempfile.TemporaryDirectory() as folder:
        with spark_server(Path(folder)) as server:
            found = dict(platform(file, server.engine()))
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
    # The server's seconds, its start among them.
    return found | {"processor": float(str(found["processor"])) + children.ru_utime + children.ru_stime}


def through_dagster(file: Path) -> Mapping[str, object]:
    """The same work as materializations of the code location, the encrypted layer left out likewise."""
    from city_platform.datasets import load_datasets
    from city_platform.layers import freshness, landing
    from city_platform.local.platform import local_platform
    from city_platform.orchestration import orchestrator

    with tempfile.TemporaryDirectory() as home:
        adapters = local_platform(Path(home))
        dataset = next(one for one in load_datasets(ROOT / "datasets") if one.name == "business_licences")
        conductor = orchestrator()
        started, processor = time.perf_counter(), time.process_time()
        landing.land(adapters, dataset, file)
        layers = ["raw", "cleaned", "quality_checked", "curated"]
        years = freshness.partitions(adapters, dataset)
        runs = [conductor.materialize(Path(home), dataset.name, year, layers, lambda _: None) for year in years]
        return {
            "seconds": time.perf_counter() - started,
            "processor": time.process_time() - processor,
            "runs": len(runs),
            "failures": [run.failure for run in runs if run.failure],
        }


if __name__ == "__main__":
    work = {
        "--scan": scan,
        "--bare": bare,
        "--platform": platform,
        "--dagster": through_dagster,
        "--on-spark": on_spark,
    }
    if len(sys.argv) == 3 and sys.argv[1] in work:
        contestant(work[sys.argv[1]], Path(sys.argv[2]))
    else:
        main()
