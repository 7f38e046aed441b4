"""A smoke test of a deployed environment: a few requests from outside that fail where something essential is broken."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2

from city_platform.errors import PermanentError

if TYPE_CHECKING:
    from city_platform.infrastructure.parameters import Environment

TIMEOUT_S = 30.0  # a function that has not run for a while starts first
_UNAUTHORISED = 401
_SLACK = ("TrafficSlackSecretArn", "TrafficTellsSlack")  # exports of the traffic stack


class NothingDeployed(PermanentError):
    """The environment exports no address of its API."""


Get = Callable[[str, Mapping[str, str]], httpx2.Response]  # of a URL, with headers


@dataclass(frozen=True, slots=True)
class Outcome:
    """One check: `problem` is None where it passed; `note` is what to know of it all the same."""

    check: str
    problem: str | None
    note: str = ""


def smoke(
    environment: "Environment",
    exports: Mapping[str, str],
    get: Get,
    services: Callable[[str], list[Mapping[str, Any]]],
    has_value: Callable[[str], bool],
) -> Iterator[Outcome]:
    """Checks the API, the Dagster host and whom alerts of traffic reach; raises NothingDeployed.

    `services` describes a cluster's ECS services, `has_value` tells whether a secret holds something.
    """
    project = environment.identity["Project"]
    names = {name: f"{project}-{environment.name}-{name}" for name in ("IncidentApiUrl", "DagsterClusterName")}
    missing = [full for full in names.values() if full not in exports]
    if missing:
        raise NothingDeployed(f"{environment.name} does not export {', '.join(missing)}: deploy it first")
    base = exports[names["IncidentApiUrl"]].rstrip("/")
    for path, headers, check in _ANSWERS:
        yield Outcome(f"GET {path}{' with a forged token' * bool(headers)}", _asked(get, base + path, headers, check))
    yield Outcome("Dagster's services run", _running(services(exports[names["DagsterClusterName"]])))
    secret, tells = (exports.get(f"{project}-{environment.name}-{name}") for name in _SLACK)
    if secret and tells:
        yield _slack(secret, tells == "true", has_value(secret))


def _slack(secret: str, tells: bool, has_value: bool) -> Outcome:
    check = "alerts of traffic in Slack"
    if tells == has_value:
        return Outcome(check, None, "" if tells else f"nobody is told there: {secret} waits for the webhook")
    if tells:
        return Outcome(check, f"{secret} has no value, so what goes there ends among the dead letters: put the webhook")
    return Outcome(check, "the webhook is in its secret, and nobody is told: set CITY_TRAFFIC_SLACK=true and deploy")


def _asked(get: Get, url: str, headers: Mapping[str, str], check: "_Check") -> str | None:
    try:
        return check(get(url, headers))
    except httpx2.HTTPError as error:
        return f"no answer: {type(error).__name__}"


def _is_well(answer: httpx2.Response) -> str | None:
    if answer.status_code != httpx2.codes.OK:
        return f"answered {answer.status_code}"
    return None if _json(answer).get("status") == "ok" else "does not say that it is well"


def _is_catalog(answer: httpx2.Response) -> str | None:
    if answer.status_code != httpx2.codes.OK:
        return f"answered {answer.status_code}"
    return None if "dataset" in _json(answer) else "is no catalog of datasets"


def _is_closed(answer: httpx2.Response) -> str | None:
    return None if answer.status_code == _UNAUTHORISED else f"answered {answer.status_code}"


_Check = Callable[[httpx2.Response], str | None]
_ANSWERS: tuple[tuple[str, Mapping[str, str], _Check], ...] = (
    ("/health", {}, _is_well),
    ("/open-data/data.json", {}, _is_catalog),
    ("/v1/incidents", {"Authorization": "Bearer e30.e30.e30"}, _is_closed),
)


def _json(answer: httpx2.Response) -> Mapping[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _running(services: list[Mapping[str, Any]]) -> str | None:
    if not services:
        return "the cluster has no services"
    short = [
        f"{one['serviceName']} {one['runningCount']} of {one['desiredCount']}"
        for one in services
        if one["runningCount"] < max(one["desiredCount"], 1)
    ]
    return ", ".join(short) or None
