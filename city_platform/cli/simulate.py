"""`city-platform incidents simulate`: a city's reports, sent to the incident API of this machine."""

from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self
from urllib.parse import urlsplit

import typer

from city_platform.cli.options import Json
from city_platform.cli.session import FAILED, OK, USAGE, Session, seconds

if TYPE_CHECKING:
    from city_platform.incidents.sending import Outcome

app = typer.Typer(help="Incidents: reports, their stream and its dead letters.", no_args_is_help=True)
_FASTEST, _MOST_CLIENTS = 5_000.0, 5_000
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_LIFE = timedelta(hours=25)  # of a citizen's token: as long as the longest run


@app.command(epilog="Example: city-platform incidents simulate --rate 50 --for 30s")
def simulate(
    rate: Annotated[float, typer.Option(min=0.01, max=_FASTEST, help="Reports a second, on average.")] = 10.0,
    duration: Annotated[str, typer.Option("--for", help="How long: 30s, 5m, 2h. At most a day.")] = "30s",
    clients: Annotated[int, typer.Option(min=1, max=_MOST_CLIENTS, help="Connections at once.")] = 50,
    url: Annotated[str, typer.Option(help="Where the API listens: this machine only.")] = "http://127.0.0.1:8000",
    seed: Annotated[int, typer.Option(help="The same seed, the same reports.")] = 0,
    home: Annotated[Path | None, typer.Option("--home", help="The API's. Its keys sign the citizens' tokens.")] = None,
    as_json: Json = False,
) -> None:
    """Report made-up incidents to the API that `city-platform serve --rate-limit 0` runs on this machine.

    The run stands for a week: reports come as often as they do on its days and nights, a few of them twice by
    different citizens, a few wrongly written. It is well if every good one was taken and every bad one refused.
    """
    from city_platform.api.composition import local_issuer
    from city_platform.deployment.incidents import open_reference
    from city_platform.incidents.sending import send
    from city_platform.incidents.simulation import arrivals, week_in

    session = Session.start(home, as_json=as_json)
    lasts = seconds(duration)
    if lasts is None:
        session.fail(USAGE, f"{duration!r} is no time: write 30s, 5m or 2h, a day at most")
    if urlsplit(url).hostname not in _LOOPBACK or urlsplit(url).scheme != "http":
        session.fail(USAGE, f"{url} is not on this machine: made-up incidents are not for a service that people use")
    with session.errors():
        issuer = local_issuer(session.home)

        @cache
        def token(citizen: int) -> str:
            return issuer.token(f"simulated-{citizen}", ["citizen"], (), _LIFE)

        monday = datetime.now(UTC) - timedelta(days=datetime.now(UTC).weekday())
        reports = arrivals(open_reference(), rate=rate, seconds=lasts, clock=week_in(lasts, monday), seed=seed)
        with _Progress(session, round(rate * lasts)) as bar:
            outcome = send(reports, url.rstrip("/"), clients=clients, token=token, progress=bar.told)
    session.result(outcome.to_json())
    if not as_json:
        _show(session, outcome)
    raise SystemExit(OK if outcome.well else FAILED)


class _Progress:
    """A bar that shows how many reports were sent of about how many; none for machines."""

    def __init__(self, session: Session, about: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("reports"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=session.err, disable=session.as_json, transient=True)
        self._task = self._bar.add_task("reports", total=about)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def told(self, outcome: "Outcome") -> None:
        self._bar.update(self._task, completed=outcome.sent)


def _show(session: Session, outcome: "Outcome") -> None:
    from city_platform.cli.table import ShownTable

    told = outcome.to_json()
    table = ShownTable("", "reports")
    table.columns[1].justify = "right"
    for name in ("sent", "accepted", "refused", "throttled", "failed"):
        table.add_row(name, f"{told[name]:,}")
    session.out.print(table)
    session.out.print(
        f"{told['accepted_a_second'] or 0:,} accepted a second; half of them within {told['p50_ms']} ms, 99 % within "
        f"{told['p99_ms']} ms of when they were due.",
        highlight=False,
    )
    session.out.print(
        f"{told['hinted']:,} of {told['duplicates']:,} reported twice were answered with possible duplicates. "
        f"Refused for: {', '.join(f'{field} ({count})' for field, count in told['refused_for'].items()) or 'nothing'}.",
        highlight=False,
    )
    if outcome.throttled:
        session.err.print("The API limits what one client may do: run it with --rate-limit 0", style="red")
    for one in outcome.unexpected:
        session.err.print(one, style="red", markup=False, highlight=False)
