"""An emulated AWS on loopback: runs functions with this interpreter, and makes most of a CloudFormation stack."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen


@contextmanager
def ministack(folder: Path, region: str) -> Iterator[str]:
    """Its address; what it says is in `folder`/log."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    log = folder / "log"
    environment = os.environ | {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "MINISTACK_REGION": region,
        "SFN_WAIT_SCALE": "0.05",
    }
    with log.open("wb") as told:
        server = subprocess.Popen(
            [sys.executable, "-m", "ministack"], env=environment, stdout=told, stderr=told, cwd=folder
        )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                urlopen(f"{url}/_ministack/health", timeout=1).close()  # noqa: S310 -- loopback
                break
            except (URLError, OSError):
                assert server.poll() is None, log.read_text()[-2000:]
                time.sleep(0.1)
        yield url
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(20)
