"""`city-platform open-data`: what everybody may download."""

import typer

from city_platform.cli.options import Home, Json
from city_platform.cli.session import OK, Session, size

app = typer.Typer(help="Open data: files for everybody.", no_args_is_help=True)


@app.command(epilog="Example: city-platform open-data publish")
def publish(home: Home = None, as_json: Json = False) -> None:
    """Publish the public incidents of every year as CSV, GeoJSON and Parquet.

    `serve` does it every ten minutes; elsewhere let a scheduler do it.
    """
    from city_platform.cli.table import ShownTable
    from city_platform.deployment.incidents import open_incident_repository, open_incident_service
    from city_platform.layers import open_incidents

    session = Session.start(home, as_json=as_json)
    with session.errors():
        platform = session.platform()
        service = open_incident_service(platform, open_incident_repository(session.home, platform.clock))
        with session.err.status("reading incidents"):
            years = open_incidents.publish(platform.lake, service)
    session.result(
        {"years": [{"year": one.partition, "rows": one.counts["rows"], "version": one.version} for one in years]}
    )
    if not as_json:
        table = ShownTable("year", "incidents", "size", "version")
        for one in years:
            table.add_row(one.partition, f"{one.counts['rows']:,}", size(one.size), one.version)
        session.out.print(table)
    raise SystemExit(OK)
