"""ministack, an emulated AWS that runs functions, state machines and stacks, as a process of its own on loopback."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import boto3

from tests.patience import PATIENCE_S, until

REGION = "ca-central-1"
SECRETS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}  # the emulator takes any


@contextmanager
def emulated_aws(folder: Path, **settings: str) -> Iterator[str]:
    """Its address while it runs; it works in `folder`. `settings` are variables of its environment."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = int(one.getsockname()[1])
    log = folder / "log"
    environment = os.environ | {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "MINISTACK_REGION": REGION,
        **settings,
    }
    with log.open("wb") as told:
        server = subprocess.Popen(
            [sys.executable, "-m", "ministack"], env=environment, stdout=told, stderr=told, cwd=folder
        )
    url = f"http://127.0.0.1:{port}"
    try:

        def answers() -> bool:
            assert server.poll() is None, log.read_text()[-2000:]
            try:
                urlopen(f"{url}/_ministack/health", timeout=PATIENCE_S).close()  # noqa: S310 -- loopback
            except (URLError, OSError):
                return False
            return True

        until(answers)
        yield url
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(PATIENCE_S)


def client(endpoint: str, service: str) -> Any:
    return boto3.client(
        service,
        region_name=REGION,
        endpoint_url=endpoint,
        aws_access_key_id=SECRETS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=SECRETS["AWS_SECRET_ACCESS_KEY"],
    )
