"""The API on this machine: serving it, and tokens to try it with."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from city_platform.cli.options import Home, Json
from city_platform.cli.session import OK, REFUSED, USAGE, Session, no_such
from city_platform.errors import InvalidDefinition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from city_platform.datasets import Dataset

app = typer.Typer()

LONGEST_HOURS = 24.0
BACKLOG = 4096  # connections that wait to be taken
PUBLISH_SECONDS = 600.0  # how old the downloads of incidents may be


@app.command(epilog="Example: city-platform serve --port 8000")
def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    rate_limit: Annotated[
        int, typer.Option(min=0, help="Reports and changes a minute from one client; 0 is no limit.")
    ] = 60,
    origin: Annotated[list[str] | None, typer.Option(help="A site whose pages may use it; repeat for more.")] = None,
    home: Home = None,
) -> None:
    """Serve incidents, open data and traffic on this machine's loopback address, until Ctrl-C or SIGTERM."""
    import signal
    import socket

    import uvicorn

    from city_platform.api.composition import open_api
    from city_platform.api.observing import log_to

    session = Session.start(home, as_json=False)
    with session.errors():
        app = open_api(
            session.home,
            rate_limit=rate_limit,
            allowed_origins=origin or (),
            datasets=_datasets(session),
            publish_every=PUBLISH_SECONDS,
        )
    log_to()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", port))
            listening.listen(BACKLOG)  # before anybody is told: whoever comes now waits and is not sent away
        except OSError as error:
            session.fail(REFUSED, f"cannot listen on port {port}: {error.strerror}; choose another with --port")
        where = f"http://127.0.0.1:{listening.getsockname()[1]}"
        session.out.print(
            f"Incidents: {where}/report for citizens, {where}/v1/openapi.json for programs", soft_wrap=True
        )
        session.out.print(
            f"Open311: {where}/open311/v2/discovery.xml; open data: {where}/open-data/data.json", soft_wrap=True
        )
        session.out.print(f"Traffic: {where}/traffic for people, {where}/traffic/v1/map.geojson", soft_wrap=True)
        session.out.print("A token: city-platform token --as NAME --role officer --district mount-pleasant")
        settings = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            proxy_headers=False,  # nobody stands between: a header may not say who the client is
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=10,
            backlog=BACKLOG,
        )
        for end in (signal.SIGINT, signal.SIGTERM):
            signal.signal(end, _ended)  # the server passes the signal on, when the last answer has been given
        uvicorn.Server(settings).run(sockets=[listening])
    raise SystemExit(OK)


def _ended(*_: object) -> NoReturn:
    raise SystemExit(OK)


def _datasets(session: Session) -> "Sequence[Dataset]":
    """The datasets whose summaries are offered. Mistakes in their folders do not keep incidents from being served."""
    if not session.datasets_folder.is_dir():
        return ()
    try:
        return list(session.datasets().values())
    except InvalidDefinition as error:
        session.err.print(f"Of the datasets nothing is offered: {error}", style="yellow", markup=False)
        return ()


@app.command(epilog="Example: city-platform token --as jo --role officer --district mount-pleasant --district downtown")
def token(
    name: Annotated[str | None, typer.Option("--as", help="Who the token is for: its subject.")] = None,
    role: Annotated[list[str] | None, typer.Option(help="A role; repeat for more. Everybody is a citizen.")] = None,
    district: Annotated[list[str] | None, typer.Option(help="A district of an officer's; repeat for more.")] = None,
    hours: Annotated[float, typer.Option(min=0.01, max=LONGEST_HOURS, help="How long it is good.")] = 8.0,
    rotate: Annotated[bool, typer.Option(help="Sign with a fresh key from now on.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Print a token for the API on this machine. Its keys are made at the first use, for their owner alone.

    Elsewhere tokens come from the identity provider.
    """
    import os

    from city_platform.api.composition import local_issuer
    from city_platform.deployment import deployment
    from city_platform.deployment.incidents import open_reference
    from city_platform.incidents.roles import Role

    session = Session.start(home, as_json=as_json)
    if name is None and not rotate:
        session.fail(USAGE, "say who the token is for: --as NAME")
    with session.errors():
        if deployment(os.environ) != "local":
            session.fail(USAGE, "tokens of this deployment come from its identity provider")
        grantable = [one.value for one in Role if one not in {Role.ANONYMOUS, Role.SYSTEM}]
        known = open_reference().districts
        wrong = [
            no_such(what, one, all_of)
            for what, given, all_of in (("role", role, grantable), ("district", district, known))
            for one in given or ()
            if one not in all_of
        ]
        if wrong:
            session.fail(USAGE, "\n".join(wrong))
        issuer = local_issuer(session.home)
        if rotate:
            issuer.rotate()
        if name is not None:
            made = issuer.token(name, role or ["citizen"], district or (), timedelta(hours=hours))
            session.result({"token": made, "hours": hours})
            if not as_json:
                session.out.print(made, soft_wrap=True, highlight=False)
    raise SystemExit(OK)
