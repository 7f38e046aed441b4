"""How long each Lambda function takes and how much memory it needs, by size of event, against an emulated AWS.

    uv run --no-sync python benchmarks/functions.py

Each function runs in a process of its own, with the environment that its template gives it; the emulator is another
process, whose time is not counted. Printed are the processor seconds of the start (imports and first event), the
processor milliseconds of a later event, the peak of the process's memory, and what Python allocated during later events
(tracemalloc, in a run of its own). Lambda gives 1,769 MB one whole processor and less memory a part of one: `ms there`
is the processor time at the template's memory.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

REGION = "ca-central-1"
WHOLE_PROCESSOR = 1769  # MB
INCIDENTS = 1_000
CHILD = """
import importlib, json, sys, time, tracemalloc
asked = json.load(sys.stdin)
module, _, name = asked["handler"].rpartition(".")
handler = getattr(importlib.import_module(module), name)
def call(event):
    before = time.process_time()
    handler(event, None)
    return (time.process_time() - before) * 1000
sys.stdout = sys.stderr
call(asked["events"][0])
start = time.process_time()
if asked["trace"]:
    tracemalloc.start()
warm = [call(event) for event in asked["events"][1:]]
traced = tracemalloc.get_traced_memory()[1] / 1e6 if asked["trace"] else 0
# Not getrusage: it counts what the parent had before this program took its place.
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1e3
sys.__stdout__.write(json.dumps({"start": start, "warm": warm, "peak": peak, "traced": traced}))
"""


@dataclass(frozen=True)
class Case:
    """Events of one size for one function; the first one is its start."""

    function: str
    size: str
    events: Sequence[Mapping[str, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--function", help="this one alone, such as ApiFunction")
    only = parser.parse_args().function
    with emulator() as url:
        os.environ |= {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": url,
        }
        from tests.incident_stack import IncidentStack
        from tests.templates import template

        stack = IncidentStack.create("bench", REGION)
        deployed = template("incidents").deploy({"Project": "bench"})
        print("| function | event | start CPU s | CPU ms | peak MB | Python MB | template MB | ms there |")
        print("|---|---|---|---|---|---|---|---|")
        for case in cases(stack):
            if only not in {None, case.function}:
                continue
            said = deployed[case.function].properties
            memory = int(said["MemorySize"])
            variables = stack.environment(case.function) | {"CITY_PLATFORM_HOME": f"/tmp/bench-{os.getpid()}"}  # noqa: S108
            asked = {"handler": said["Handler"], "events": case.events}
            plain, traced = (run(asked | {"trace": trace}, variables) for trace in (False, True))
            cpu = median(plain["warm"])
            there = cpu * max(1.0, WHOLE_PROCESSOR / memory)
            name = case.function.removesuffix("Function")
            print(
                f"| {name} | {case.size} | {plain['start']:.2f} | {cpu:.1f} | {plain['peak']:.0f} "
                f"| {traced['traced']:.1f} | {memory} | {there:.0f} |",
                flush=True,
            )


def run(asked: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
    """What the child measured."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CITY_PLATFORM_")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CHILD],
        input=json.dumps(asked), env=kept | variables, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{asked['handler']} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def cases(stack: Any) -> Iterator[Case]:
    import boto3

    from city_platform.aws.incidents import DynamoDBIncidentRepository, IncidentTables
    from city_platform.local.clock import SystemClock
    from tests.incident_stream import following, record
    from tests.incidents import change, incident, report

    store = DynamoDBIncidentRepository(IncidentTables(stack.prefix), SystemClock())
    kept = [incident(number, incident_id=f"01K0{number:022d}") for number in range(INCIDENTS)]
    table = IncidentTables(stack.prefix).incidents
    items = [next(store._puts(change(one)))["Item"] for one in kept]  # noqa: SLF001 -- a transaction each takes minutes
    for start in range(0, INCIDENTS, 25):
        puts: Any = [{"PutRequest": {"Item": one}} for one in items[start : start + 25]]
        boto3.client("dynamodb").batch_write_item(RequestItems={table: puts})

    def requests(method: str, path: str, body: Any = None, query: Mapping[str, str] | None = None) -> list[Any]:
        asked = {
            "resource": "/{proxy+}", "path": path, "httpMethod": method,
            "headers": {"Content-Type": "application/json"},
            "multiValueHeaders": {"Content-Type": ["application/json"]}, "queryStringParameters": query,
            "multiValueQueryStringParameters": {name: [value] for name, value in (query or {}).items()} or None,
            "body": json.dumps(body) if body else None, "isBase64Encoded": False,
            "requestContext": {"identity": {"sourceIp": "192.0.2.7"}, "stage": "live", "requestId": "r"},
        }  # fmt: skip
        return [asked] * 6

    mine = {"district": "mount-pleasant", "status": "reported", "limit": "50"}
    long = report(description="A deep hole beside the storm drain. " * 100)
    yield Case("ApiFunction", "read one", requests("GET", f"/v1/incidents/{kept[0].incident_id}"))
    yield Case("ApiFunction", "report, 0.1 KB", requests("POST", "/v1/incidents", report()))
    yield Case("ApiFunction", "report, 3.7 KB", requests("POST", "/v1/incidents", long))
    yield Case("ApiFunction", "list of 50", requests("GET", "/v1/incidents", None, mine))
    changes = [json.loads(json.dumps(record(following(one), one, number))) for number, one in enumerate(kept)]
    for size in (1, 100, 500):
        yield Case("StreamFunction", f"{size} changes", [{"Records": changes[:size]}] * 6)
    for rows in (500, 20_000):
        yield Case("ExportFunction", f"a day of {rows:,} rows", [_day(stack, changes, rows)] * 4)
    yield Case("DeadlinesFunction", f"none due of {INCIDENTS:,}", [{}] * 4)
    yield Case("PublishingFunction", f"{INCIDENTS:,} incidents", [{}] * 2)
    person = {"userAttributes": {"email": "Kim@city.example", "custom:districts": "downtown"}}
    yield Case("SignInFunction", "a citizen", [{"request": person, "userPoolId": "p", "userName": "kim"}] * 12)


def _day(stack: Any, changes: Sequence[Mapping[str, Any]], rows: int) -> dict[str, Any]:
    """The export step's event for a day whose rows wait in segments of 500."""
    import msgspec

    from city_platform.incidents.segments import Segments
    from city_platform.incidents.stream import flat_row
    from city_platform.local.clock import SystemClock

    store = _platform(stack, SystemClock()).lake.store
    some = [flat_row(one, lambda subject: subject) for one in changes]
    keys = []
    for start in range(0, rows, 500):
        part = [msgspec.structs.replace(some[(start + at) % len(some)], event_id=f"{start + at}") for at in range(500)]
        keys += [job.segment for job in Segments(store).write(part)]
    return {"step": "export", "day": {"day": some[0].day, "segments": keys, "messages": []}}


def _platform(stack: Any, clock: Any) -> Any:
    from city_platform.deployment import open_platform

    environ = os.environ | stack.environment("ExportFunction")
    return open_platform(Path("/tmp") / f"bench-{os.getpid()}", environ, clock)  # noqa: S108


@contextmanager
def emulator() -> Iterator[str]:
    """An emulated AWS in a process of its own, on loopback."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        url = f"http://127.0.0.1:{port}"
        try:
            _until(lambda: urlopen(f"{url}/moto-api/", timeout=2).close())  # noqa: S310 -- loopback
            yield url
        finally:
            server.terminate()


def _until(works: Callable[[], None]) -> None:
    for _ in range(100):
        try:
            works()
        except (URLError, OSError):
            time.sleep(0.1)
        else:
            return
    raise SystemExit("the emulator did not start")


if __name__ == "__main__":
    main()
