"""The API as a process of its own on loopback, and clients that report to it."""

import asyncio
import json
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tests.incidents import report
from tests.patience import PATIENCE_S


@dataclass
class Served:
    """A running API: its process and address."""

    process: "subprocess.Popen[str]"
    address: str

    def kill(self) -> None:
        """As a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE_S)


@contextmanager
def served(home: Path) -> Iterator[Served]:
    """Starts `city-platform serve` on a free port and ends it with SIGTERM, which has to be clean."""
    options = ["--port=0", "--rate-limit=0", f"--home={home}"]
    command = [sys.executable, "-m", "city_platform", "serve", *options]
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
            assert process.wait(PATIENCE_S) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(PATIENCE_S)
        if process.stdout is not None:
            process.stdout.close()


@dataclass
class Told:
    """What clients were told: the ids that were accepted, and answers that were none."""

    accepted: dict[str, str] = field(default_factory=dict)  # id -> title
    other: list[int] = field(default_factory=list)
    cut_off: int = 0


async def report_from_many(address: str, *, clients: int, each: int, told: Told, seed: int = 7) -> None:
    """So many clients at the same moment, each with its own connection, report so often; until the server is gone."""
    chance = random.Random(seed)  # noqa: S311 -- the same reports every time

    async def client(number: int) -> None:
        try:
            reader, writer = await asyncio.open_connection(*_place(address))
        except OSError:
            told.cut_off += 1
            return
        try:
            for count in range(each):
                title = f"Pothole {count} of client {number}"
                body = report(
                    title=title,
                    category=chance.choice(["road_damage", "graffiti", "waste", "noise"]),
                    lat=round(chance.uniform(49.215, 49.28), 6),
                    long=round(chance.uniform(-123.2, -123.04), 6),
                )
                status, answer = await _posted(reader, writer, "/v1/incidents", json.dumps(body).encode())
                if status == 201:
                    told.accepted[json.loads(answer)["incident_id"]] = title
                else:
                    told.other.append(status)
        except (OSError, asyncio.IncompleteReadError):
            told.cut_off += 1
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    await asyncio.gather(*(client(number) for number in range(clients)))


def _place(address: str) -> tuple[str, int]:
    parts = urlsplit(address)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


async def _posted(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, body: bytes
) -> tuple[int, bytes]:
    """One exchange in plain HTTP/1.1: client libraries spend more on two thousand connections than the server does."""
    head = f"POST {path} HTTP/1.1\r\nHost: api\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    answer = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = re.search(r"content-length: (\d+)", answer, re.IGNORECASE)
    assert length
    return int(answer.split(" ", 2)[1]), await reader.readexactly(int(length[1]))
