"""The incident API for tests: in this process over a store in a file, with a clock that stands still."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.testclient import TestClient

from city_platform.api.composition import local_issuer, open_api
from city_platform.local.issuer import LocalIssuer
from tests.incidents import NOW, report
from tests.town import StandingClock


@dataclass
class Town:
    """One API with its store, clock and issuer of tokens."""

    app: FastAPI
    client: TestClient
    clock: StandingClock
    issuer: LocalIssuer
    home: Path

    def auth(self, subject: str, *roles: str, districts: tuple[str, ...] = ("mount-pleasant",)) -> dict[str, str]:
        """The header of somebody who is signed in; officers answer for Mount Pleasant."""
        return {"Authorization": f"Bearer {self.issuer.token(subject, roles, districts, timedelta(hours=1))}"}

    def report(self, headers: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
        """A report that is accepted."""
        answer = self.client.post("/v1/incidents", json=report(**changes), headers=headers)
        assert answer.status_code == 201, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def stored(self) -> bytes:
        """All that the store holds."""
        folder = self.home / "incidents"
        return b"".join(file.read_bytes() for file in sorted(folder.glob("*.sqlite*"))) if folder.exists() else b""

    def changes(self) -> int:
        """How many changes the store has accepted."""
        return len(self.app.state.desk.counter.changes(0, 10_000))


def town(home: Path, *, rate_limit: int = 0, **options: Any) -> Town:
    """An API over an empty store below `home`."""
    clock = StandingClock(NOW)
    app = open_api(home, {}, rate_limit=rate_limit, clock=clock, **options)
    return Town(app, TestClient(app, raise_server_exceptions=False), clock, local_issuer(home, clock), home)
