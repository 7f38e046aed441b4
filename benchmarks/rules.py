"""Thirty rules over one Parquet file, measured in one run against scanning the file and against peers.

    uv run --group bench-rules python benchmarks/rules.py --rows 10_000_000 --peer-rows 1_000_000

Each contestant is a process of its own, timed from opening the file to the last result, without starting Python and
importing libraries. Seconds are wall clock and CPU: on a shared machine the ratio of CPU seconds is the steadier one.
    scan        DuckDB reading every column once for count, minimum and maximum: what any engine has to do at least
    platform    the ruleset below, read, compiled and evaluated
    peers       the same thirty checks in great_expectations and pandera (pandas), pointblank and cuallee (Polars), each
                written as its users write it; all must find the same counts, or the run fails
Peers get fewer rows where `--peer-rows` says so, the platform runs on the same file beside them.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PEERS = Path(__file__).parent / "peers"
NAMES = ("great_expectations", "pandera", "pointblank", "cuallee")
REPEATS = 3
NOW = datetime(2026, 1, 1, tzinfo=UTC)
COLUMNS = {
    "id": "BIGINT",
    "number": "VARCHAR",
    "name": "VARCHAR",
    "status": "VARCHAR",
    "kind": "VARCHAR",
    "area": "VARCHAR",
    "province": "VARCHAR",
    "postal": "VARCHAR",
    "year": "INTEGER",
    "employees": "INTEGER",
    "fee": "DOUBLE",
    "latitude": "DOUBLE",
    "issued": "TIMESTAMP",
    "expired": "DATE",
}
# Some of everything is wrong, the same rows whatever the number of rows; the rest is as varied as real data is.
GENERATED = """
    SELECT i AS id,
        CASE WHEN i % 997 = 5 THEN '24/' || i ELSE printf('%02d-%07d', 13 + i % 13, h % 10000000) END AS number,
        CASE WHEN i % 503 <> 7 THEN 'Business ' || (h % 400009) END AS name,
        CASE WHEN i % 211 = 3 THEN NULL WHEN i % 401 = 9 THEN 'Suspended'
            ELSE ['Issued', 'Pending', 'Inactive', 'Cancelled'][1 + h % 4] END AS status,
        CASE WHEN i % 601 = 2 THEN 'Unknown' ELSE ['Office', 'Restaurant', 'Contractor'][1 + h % 3] END AS kind,
        'Area ' || (h * 31 % 24) AS area,
        CASE WHEN i % 307 = 4 THEN 'B.C.' ELSE ['BC', 'AB', 'ON'][1 + h % 3] END AS province,
        CASE WHEN i % 409 = 8 THEN 'V6B1A' ELSE printf('V%dB %dA%d', h % 9, h % 7, h % 5) END AS postal,
        CAST(CASE WHEN i % 1009 = 6 THEN 1900 ELSE 2013 + i % 13 END AS INTEGER) AS year,
        CAST(CASE WHEN i % 701 = 1 THEN -1 ELSE h * 13 % 997 END AS INTEGER) AS employees,
        CASE WHEN i % 807 = 2 THEN -123.0 ELSE CAST(h % 90000 AS DOUBLE) / 100 END AS fee,
        CASE WHEN i % 907 = 3 THEN 0.0 ELSE 49.2 + CAST(h % 1000 AS DOUBLE) / 10000 END AS latitude,
        TIMESTAMP '2013-01-01' + to_seconds(h % 100000000) AS issued,
        CASE WHEN i % 1103 = 4 THEN DATE '1970-01-01' ELSE DATE '2013-12-31' + CAST(h % 4000 AS INTEGER) END AS expired
    FROM (SELECT i, CAST(hash(i) % 1000000007 AS BIGINT) AS h FROM range({rows}) AS numbers(i))
"""
RULES = r"""
Rules = [
    RowCount > 0 labels=["name"="rows"],
    IsComplete "id" labels=["name"="id_complete"],
    IsComplete "number" labels=["name"="number_complete"],
    IsComplete "name" labels=["name"="name_complete"],
    IsComplete "status" labels=["name"="status_complete"],
    IsComplete "area" labels=["name"="area_complete"],
    IsComplete "issued" labels=["name"="issued_complete"],
    IsUnique "id" labels=["name"="id_unique"],
    ColumnValues "status" in ["Issued", "Pending", "Inactive", "Cancelled", NULL] labels=["name"="status_known"],
    ColumnValues "kind" in ["Office", "Restaurant", "Contractor"] labels=["name"="kind_known"],
    ColumnValues "province" in ["BC", "AB", "ON"] labels=["name"="province_known"],
    ColumnValues "number" matches "[0-9]{2}-[0-9]{7}" labels=["name"="number_form"],
    ColumnValues "postal" matches "[A-Z][0-9][A-Z] [0-9][A-Z][0-9]" labels=["name"="postal_form"],
    ColumnValues "province" matches "[A-Z]{2}" labels=["name"="province_form"],
    ColumnValues "area" matches "Area [0-9]+" labels=["name"="area_form"],
    ColumnValues "year" >= 2013 labels=["name"="year_low"],
    ColumnValues "year" <= 2025 labels=["name"="year_high"],
    ColumnValues "employees" >= 0 labels=["name"="employees_low"],
    ColumnValues "employees" < 990 labels=["name"="employees_high"],
    ColumnValues "fee" >= 0 labels=["name"="fee_low"],
    ColumnValues "fee" < 890 labels=["name"="fee_high"],
    ColumnValues "latitude" > 49.0 labels=["name"="latitude_low"],
    ColumnValues "latitude" < 49.4 labels=["name"="latitude_high"],
    ColumnValues "issued" >= "2013-01-01" labels=["name"="issued_low"],
    ColumnValues "issued" < "2016-01-01" labels=["name"="issued_high"],
    ColumnValues "expired" > "2000-01-01" labels=["name"="expired_low"],
    ColumnLength "postal" = 7 labels=["name"="postal_length"],
    Mean "fee" between 1 and 1000 labels=["name"="fee_mean"],
    StandardDeviation "employees" < 400 labels=["name"="employees_spread"],
    DistinctValuesCount "area" = 24 labels=["name"="areas"]
]
"""


@dataclass(frozen=True)
class Measured:
    """One contestant's best run. `found` maps each rule to the rows that fail it, 1 for the whole where it fails."""

    name: str
    rows: int
    seconds: float
    cpu: float
    peak: int  # bytes
    found: Mapping[str, int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=_number, default=10_000_000)
    parser.add_argument("--peer-rows", type=_number, default=1_000_000)
    parser.add_argument("--peer-python", default=sys.executable, help="an interpreter that has the peers installed")
    parser.add_argument("--peer", action="append", choices=NAMES, help="only these peers")
    parser.add_argument("--without-peers", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rules-benchmark-") as folder:
        large = generated(Path(folder), options.rows)
        scan = best("scan", options.rows, [sys.executable, __file__, "--scan", str(large)])
        platform = best("platform", options.rows, [sys.executable, __file__, "--platform", str(large)])
        table([scan, platform], scan)
        if options.without_peers:
            return
        small = generated(Path(folder), options.peer_rows)
        beside = best("platform", options.peer_rows, [sys.executable, __file__, "--platform", str(small)])
        peers = []
        for name in options.peer or NAMES:
            command = [options.peer_python, str(PEERS / f"rules_{name}.py"), str(small)]
            peers.append(best(name, options.peer_rows, command))
            agree(beside, peers[-1])
        table([beside, *peers], beside)


def _number(text: str) -> int:
    return int(text.replace("_", ""))


def generated(folder: Path, rows: int) -> Path:
    """A Parquet file with that many rows; the same rows in the same order, whatever the machine."""
    import duckdb

    file = folder / f"licences-{rows}.parquet"
    if not file.exists():
        duckdb.sql(f"COPY ({GENERATED.format(rows=rows)}) TO '{file}' (FORMAT parquet, COMPRESSION zstd)")
        print(f"generated {rows:,} rows, {file.stat().st_size / 1e6:,.0f} MB")
    return file


def best(name: str, rows: int, command: list[str]) -> Measured:
    """The run that took least CPU time, of a few."""
    runs = [_run(name, command) for _ in range(REPEATS)]
    least, peak = min(runs, key=lambda run: run[0]["cpu"])
    return Measured(name, rows, least["seconds"], least["cpu"], peak, least["found"])


def _run(name: str, command: list[str]) -> tuple[Mapping[str, Any], int]:
    """What one contestant printed, and its largest resident set in bytes."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = subprocess.Popen(command, stdout=out, stderr=err)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if child.returncode:
            sys.exit(f"{name}: {(err.read().strip().splitlines() or [str(child.returncode)])[-1]}")
        return json.loads(out.read().strip().splitlines()[-1]), used.ru_maxrss * 1024


def agree(platform: Measured, peer: Measured) -> None:
    """Ends the run where a peer found something else: it would not have done the same work."""
    differing = {
        rule: (count, peer.found.get(rule)) for rule, count in platform.found.items() if count != peer.found.get(rule)
    }
    if differing:
        sys.exit(f"{peer.name} disagrees: {differing}")


def table(results: list[Measured], against: Measured) -> None:
    print(f"\n| | rows | seconds | CPU seconds | x {against.name} | x, CPU | peak GB |\n|---|---|---|---|---|---|---|")
    for one in results:
        ratios = f"{one.seconds / against.seconds:.1f} | {one.cpu / against.cpu:.1f}"
        print(f"| {one.name} | {one.rows:,} | {one.seconds:.2f} | {one.cpu:.2f} | {ratios} | {one.peak / 1e9:.2f} |")


def scan(file: str) -> Mapping[str, int]:
    """Every column once: how many values, the smallest and the largest."""
    import duckdb

    figures = ", ".join(f'count("{name}"), min("{name}"), max("{name}")' for name in COLUMNS)
    duckdb.sql(f"SELECT count(*), {figures} FROM read_parquet('{file}')").fetchall()
    return {}


def platform(file: str) -> Mapping[str, int]:
    """The ruleset as `quality_checked` evaluates it."""
    from city_platform.engines.duckdb import DuckDBEngine
    from city_platform.quality.evaluate import evaluate
    from city_platform.quality.parser import parse_ruleset

    ruleset, _ = parse_ruleset(RULES, "rules.dqdl")
    assert ruleset is not None
    scratch = tempfile.mkdtemp(prefix="rules-benchmark-engine-")
    try:
        with DuckDBEngine(Path(scratch), (Path(file),), memory_limit="2GB").session() as session:
            session.view("licences", [Path(file)])
            evaluation = evaluate(session, "licences", ruleset, COLUMNS, NOW, files=[Path(file)])
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return {
        one.rule_id: one.rows_failed if one.rows_failed is not None else int(one.outcome != "PASS")
        for one in evaluation.results
    }


def timed(work: str, file: str) -> None:
    """Runs one contestant in this process; its libraries are loaded before the clock starts."""
    import duckdb  # noqa: F401 -- not to be counted

    import city_platform.quality.evaluate  # noqa: F401 -- the same
    from city_platform.quality.parser import parse_ruleset

    parse_ruleset("Rules = []", "rules.dqdl")  # the grammar is made ready once a process, as an import is
    contestant = {"--scan": scan, "--platform": platform}[work]
    started, cpu = time.perf_counter(), time.process_time()
    found = contestant(file)
    print(json.dumps({"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu, "found": found}))


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] in {"--scan", "--platform"}:
        timed(sys.argv[1], sys.argv[2])
    else:
        main()
