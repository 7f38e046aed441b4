"""The API as a process of its own on loopback, and clients that report to it."""

import asyncio
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from tests.incidents import report


@dataclass
class Served:
    """A running API: its process and address."""

    process: "subprocess.Popen[str]"
    address: str

    def kill(self) -> None:
        """As a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)


@contextmanager
def served(home: Path) -> Iterator[Served]:
    """Starts `city-platform serve` on a free port and ends it with SIGTERM, which has to be clean."""
    options = ["--port=0", "--rate-limit=0", f"--home={home}"]
    command = [sys.executable, "-m", "city_platform.cli.app", "serve", *options]
    with (home.parent / "serve.log").open("a") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found, (home.parent / "serve.log").read_text()
        yield Served(process, found[0])
        if process.poll() is None:
            process.terminate()
            assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(30)
        if process.stdout is not None:
            process.stdout.close()


@dataclass
class Told:
    """What clients were told: the ids that were accepted, and answers that were none."""

    accepted: dict[str, str] = field(default_factory=dict)  # id -> title
    other: list[int] = field(default_factory=list)
    cut_off: int = 0


async def report_from_many(
    address: str, *, clients: int, each: int, connections: int, told: Told, seed: int = 7
) -> None:
    """So many clients report so often, at most so many of them at the same moment; stops when the server is gone."""
    chance = random.Random(seed)  # noqa: S311 -- the same reports every time
    turn = asyncio.Semaphore(connections)
    limits = httpx2.Limits(max_connections=connections)

    async def client(number: int) -> None:
        for count in range(each):
            title = f"Pothole {number} of client {count}"
            body = report(
                title=title,
                category=chance.choice(["road_damage", "graffiti", "waste", "noise"]),
                lat=round(chance.uniform(49.215, 49.28), 6),
                long=round(chance.uniform(-123.2, -123.04), 6),
            )
            async with turn:
                try:
                    answer = await http.post("/v1/incidents", json=body)
                except httpx2.TransportError:
                    told.cut_off += 1
                    return
            if answer.status_code == 201:
                told.accepted[answer.json()["incident_id"]] = title
            else:
                told.other.append(answer.status_code)

    async with httpx2.AsyncClient(base_url=address, limits=limits, timeout=120) as http:
        await asyncio.gather(*(client(number) for number in range(clients)))
