"""`city-platform traffic up`: the whole traffic path on this machine."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from city_platform.cli.options import Home
from city_platform.cli.session import Session

app = typer.Typer()


@app.command(epilog="Examples: city-platform traffic up\n\ncity-platform traffic simulate --for 60s")
def up(
    broker: Annotated[str, typer.Option(help="amqtt, or mosquitto where it is installed.")] = "amqtt",
    broker_port: Annotated[int, typer.Option(min=1, max=65535, help="Where the broker listens.")] = 8883,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of the live page and the API.")] = 8000,
    home: Home = None,
) -> None:
    """Start broker and gateway, worker, watcher, archive and live page, until Ctrl-C or SIGTERM.

    Each is a command of its own (`traffic gateway`, `process`, `watch`, `archive`; `serve`) and a process of its own:
    when one ends, all do. What they had accepted is kept, and the next start goes on from there.
    """
    from city_platform.local.children import run_together

    session = Session.start(home, as_json=False)
    session.out.print(f"Live page: http://127.0.0.1:{port}/traffic (Ctrl-C ends everything)", soft_wrap=True)
    parts = (
        ["traffic", "gateway", "--broker", broker, "--port", str(broker_port)],
        ["traffic", "process"],
        ["traffic", "watch"],
        ["traffic", "archive"],
        ["serve", "--port", str(port)],
    )
    commands = [[sys.executable, "-m", "city_platform", *part, "--home", str(session.home)] for part in parts]
    raise SystemExit(run_together(commands, Path.cwd(), os.environ))
