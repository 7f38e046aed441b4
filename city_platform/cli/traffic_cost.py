"""`city-platform traffic cost`: what the traffic path costs on AWS in a month."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from city_platform.cli.options import Json
from city_platform.cli.session import FAILED, OK, USAGE, Session

app = typer.Typer()
MOST_UPDATES_S, MOST_SENSORS, MOST_ZONES = 10_000_000.0, 10_000_000, 100_000


class Design(StrEnum):
    """The ways to bring readings in; `traffic/cost.py` describes them."""

    packed = "packed"
    broker = "broker"
    single = "single"


@app.command(epilog="Example: city-platform traffic cost --rate 50000 --limit 1000")
def cost(
    design: Annotated[
        Design, typer.Option(help="packed: gateways pack; broker: our own MQTT broker packs; single: a message each.")
    ] = Design.packed,
    rate: Annotated[float, typer.Option(min=0.1, max=MOST_UPDATES_S, help="Readings a second.")] = 50_000,
    sensors: Annotated[int, typer.Option(min=1, max=MOST_SENSORS, help="Sensors that are connected.")] = 50_000,
    zones: Annotated[int, typer.Option(min=1, max=MOST_ZONES, help="Zones they stand in.")] = 500,
    limit: Annotated[float, typer.Option(min=0, help="Exit code 1 where a month costs more USD.")] = 1000,
    prices: Annotated[Path | None, typer.Option(help="Another price table; default: the package's.")] = None,
    as_json: Json = False,
) -> None:
    """Estimate the monthly AWS bill, line by line, and hold it against a limit."""
    from dataclasses import asdict

    from city_platform.cli.table import ShownTable
    from city_platform.traffic.cost import DESIGNS, Load, estimate, read_prices

    session = Session.start(None, as_json=as_json)
    if zones > sensors:
        session.fail(USAGE, f"{zones} zones need as many sensors at least, not {sensors}")
    with session.errors():
        table = read_prices(session.text(prices) if prices else None)
        load = Load(rate, sensors, zones)
        bills = {name: estimate(name, load, table) for name in DESIGNS}
    bill = bills[design.value]
    session.result(
        {
            "design": bill.design,
            "usd_month": round(bill.usd, 2),
            "limit_usd": limit,
            "within_limit": bill.usd <= limit,
            "prices_as_of": table.as_of.isoformat(),
            "region": table.region,
            "unconfirmed_prices": table.unconfirmed,
            "lines": [asdict(line) for line in bill.lines],
            "designs_usd_month": {name: round(one.usd, 2) for name, one in bills.items()},
        }
    )
    if not as_json:
        shown = ShownTable()
        for name in ("service", "what"):
            shown.add_column(name)
        shown.add_column("USD a month", justify="right", no_wrap=True)
        for line in sorted(bill.lines, key=lambda line: -line.usd):
            shown.add_row(line.service, line.what, f"{line.usd:,.2f}")
        session.out.print(shown)
        verdict = "within" if bill.usd <= limit else "[red]over[/]"
        session.out.print(
            f"{design.value} at {rate:,.0f} readings/s: [bold]{bill.usd:,.0f} USD a month[/], {verdict} the limit of "
            f"{limit:,.0f}. The others: "
            + ", ".join(f"{name} {one.usd:,.0f}" for name, one in bills.items() if name != design.value)
            + f".\nPrices of {table.region} as of {table.as_of}; {table.unconfirmed} of {len(table.table)} are from "
            "memory: look them up before budgeting.",
            highlight=False,
        )
    raise SystemExit(OK if bill.usd <= limit else FAILED)
