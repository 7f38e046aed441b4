"""Runs the functions' handlers as a package has them: in a process that finds what is packaged and nothing else."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tests.incidents import report
from tests.patience import PATIENCE_S

HANDLERS = [
    "lambda_handler.lambda_handler",
    *(
        f"city_platform.functions.{file.stem}.handler"
        for file in sorted((ROOT / "city_platform/functions").glob("*.py"))
        if "def handler(" in file.read_text("utf-8")
    ),
]
# Over the adapters of this machine: their imports are packaged, too, and what a handler does beyond them is the same.
CALLS = """
import base64, json, os, sys, tempfile

home = tempfile.mkdtemp()
os.environ["CITY_PLATFORM_HOME"] = home
statuses = {}

def request(method, path, body=None, kind="application/json"):
    event = {
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "",
        "headers": {"content-type": kind, "host": "city.internal"},
        "requestContext": {"http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.7",
                                    "userAgent": "curl/8"}, "stage": "$default"},
        "body": body, "isBase64Encoded": False,
    }
    answer = api.handler(event, None)
    statuses[f"{method} {path}"] = answer["statusCode"]
    return answer

import asyncio
asyncio.set_event_loop(asyncio.new_event_loop())
from city_platform.functions import api, incident_deadlines, incident_export, incident_stream, incident_traffic
from city_platform.functions import traffic, traffic_alerts, traffic_archive, traffic_relay, traffic_watch
import lambda_handler

report = json.loads(os.environ["REPORT"])
made = json.loads(request("POST", "/v1/incidents", json.dumps(report))["body"])
request("GET", "/v1/incidents/" + made["incident_id"])
for path in ("/health", "/report", "/dashboard", "/open-data/data.json", "/open311/v2/services.xml",
             "/traffic/v1/map.geojson"):
    request("GET", path)
request("POST", "/graphql", json.dumps({"query": "{ __typename }"}))
# A form as browsers send it, which another package takes apart.
form = "--x\\r\\nContent-Disposition: form-data; name=\\"title\\"\\r\\n\\r\\nPothole\\r\\n--x--\\r\\n"
request("POST", "/report", form, "multipart/form-data; boundary=x")

statuses["stream"] = incident_stream.handler({"Records": []}, None)
statuses["archive"] = traffic_archive.handler({"Records": []}, None)
garbage = {"kinesis": {"sequenceNumber": "1", "partitionKey": "z", "data": base64.b64encode(b"x").decode(),
                       "approximateArrivalTimestamp": 1773073800.0}, "eventID": "s:1"}
statuses["traffic"] = traffic_archive.handler({"Records": [garbage]}, None)
statuses["loaded"] = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps(statuses))
"""
_ONLY = """
import re, sys
from importlib.abc import MetaPathFinder
ALLOWED, LEFT_OUT = set(%r), re.compile(%r)

class Nothing(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        top = name.partition(".")[0]
        known = top in sys.stdlib_module_names or top in ALLOWED or top.startswith("_sysconfigdata")
        if not known or LEFT_OUT.search(name.replace(".", "/") + ".so"):
            raise ModuleNotFoundError(f"{name} is not packaged", name=name)
        return None

sys.meta_path.insert(0, Nothing())
"""


def without_the_rest(distributions: Sequence[str], left_out: str) -> str:
    """Python that finds, of what is installed here, only the modules of these packages."""
    names = {
        top
        for top, providers in packages_distributions().items()
        if {one.lower().replace("_", "-").replace(".", "-") for one in providers} & set(distributions)
    }
    return _ONLY % (sorted(names | {"city_platform", "lambda_handler"}), left_out)


def run(before: str, folder: Path, *, isolated: bool) -> Mapping[str, Any]:
    """What the calls came to. `isolated`: only the standard library and `folder` are there."""
    path = f"import sys; sys.path.insert(0, {str(folder)!r})\n"
    flags = ["-I", "-S"] if isolated else []
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "REPORT": json.dumps(report())}
    done = subprocess.run(
        [sys.executable, *flags, "-c", path + before + CALLS],
        cwd=ROOT if not isolated else folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    answers: Mapping[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answers
