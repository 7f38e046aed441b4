"""The commands. Each is a page: read the options, do the work, say what happened."""

import time
from pathlib import Path
from typing import Annotated

import typer

from city_platform.cli.audit import app as audit_app
from city_platform.cli.catalog import app as catalog_app
from city_platform.cli.changes import app as changes_app
from city_platform.cli.datasets import app as datasets_app
from city_platform.cli.deploy import app as deploy_app
from city_platform.cli.erase import app as erase_app
from city_platform.cli.fetch import app as fetch_app
from city_platform.cli.incidents import app as incidents_app
from city_platform.cli.keys import app as keys_app
from city_platform.cli.lake import app as lake_app
from city_platform.cli.lessons import app as lessons_app
from city_platform.cli.open311 import app as open311_app
from city_platform.cli.open_data import app as open_data_app
from city_platform.cli.options import Home, Json
from city_platform.cli.profile import app as profile_app
from city_platform.cli.quality import app as quality_app
from city_platform.cli.questions import app as questions_app
from city_platform.cli.recipes import app as recipes_app
from city_platform.cli.rules import app as rules_app
from city_platform.cli.serve import app as serve_app
from city_platform.cli.session import EXIT_CODES, FAILED, OK, REFUSED, Session, size
from city_platform.cli.trace import app as trace_app
from city_platform.cli.traffic import app as traffic_app

app = typer.Typer(
    name="city-platform",
    help="A city's data platform on one machine: raw files in, governed and encrypted data out.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(datasets_app, name="datasets")
app.add_typer(keys_app, name="keys")
app.add_typer(fetch_app)
app.add_typer(changes_app)
app.add_typer(erase_app)
app.add_typer(profile_app)
app.add_typer(questions_app)
app.add_typer(trace_app)
app.add_typer(serve_app)
app.add_typer(incidents_app, name="incidents")
app.add_typer(catalog_app, name="catalog")
app.add_typer(lake_app, name="lake")
app.add_typer(quality_app, name="quality")
app.add_typer(rules_app, name="rules")
app.add_typer(audit_app, name="audit")
app.add_typer(recipes_app, name="recipes")
app.add_typer(open311_app, name="open311")
app.add_typer(open_data_app, name="open-data")
app.add_typer(traffic_app, name="traffic")
app.add_typer(deploy_app, name="deploy")
app.add_typer(lessons_app, name="lessons")

DEMO_YEARS = (2022, 2023, 2024)

DatasetName = Annotated[str, typer.Option("--dataset", "-d", help="The dataset's name, as `datasets list` shows it.")]


def main() -> None:
    """Entry point of the command."""
    app()


@app.command(epilog="Example: city-platform demo --rows 200000")
def demo(
    rows: Annotated[int, typer.Option(min=1000, help="Rows to generate for each dataset.")] = 50_000,
    seed: Annotated[int, typer.Option(help="Same seed, same data.")] = 7,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Generate sample data, take it through all layers, show what came out."""
    from city_platform.cli.report import LEGEND, RULES, report, tables
    from city_platform.cli.work import advancing, bring_up_to_date, land_files, progress
    from city_platform.samples import SAMPLE_FILES, generate

    session = Session.start(home, as_json=as_json)
    with session.errors():
        platform = session.platform()
        datasets = {name: dataset for name, dataset in session.datasets().items() if name in SAMPLE_FILES}
        folder = session.home / "samples"
        for private in (session.home, folder):  # `parents` would make the home open to others
            private.mkdir(exist_ok=True, mode=0o700)
        started = time.monotonic()
        landed = 0
        for name, dataset in datasets.items():
            file = folder / f"{SAMPLE_FILES[name]}"
            with progress(session) as bars:
                bar = bars.add_task(f"generating {file.name}", total=rows)
                generate(name, file, rows, seed, DEMO_YEARS, progress=advancing(bars, bar))
            file.chmod(0o600)  # made up, but of the home as all else
            landings, refusals = land_files(session, platform, dataset, [file])
            if refusals:
                session.fail(REFUSED, refusals[0].why)
            landed += sum(one.source.rows for one in landings if not one.known)
        runs = bring_up_to_date(session, platform, list(datasets.values()))
        seconds = time.monotonic() - started
        years = report(platform, list(datasets.values()))
    failures = [run for run in runs if run.failure]
    session.result(
        {
            "rows_landed": landed,
            "seconds": round(seconds, 2),
            "partitions": [year.to_json() for year in years],
            "failures": [{"partition": f"{run.dataset}/{run.partition}", "why": run.failure} for run in failures],
        }
    )
    if not as_json:
        session.out.print(*tables(years), LEGEND, sep="\n")
        rules = {name: sum(year.rules[name] for year in years) for name in RULES}
        session.out.print(
            f"{landed:,} rows in {seconds:.1f} s, {landed / seconds:,.0f} rows/s with generating and Dagster. "
            f"Rules: {', '.join(f'{count} {name}' for name, count in rules.items())}. "
            f"Encrypted: {size(sum(year.encrypted_bytes for year in years))}.",
            highlight=False,
        )
        for run in failures:
            session.err.print(f"{run.dataset} {run.partition}: {run.failure}", style="red", markup=False)
        session.out.print("Next: [bold]uv run city-platform up[/], then look at the graph, the runs and the checks;")
        session.out.print("or [bold]uv run city-platform lessons list[/], and learn by doing what your task needs.")
    raise SystemExit(FAILED if failures else OK)


@app.command(epilog="Example: city-platform ingest exports/ --dataset business_licences")
def ingest(
    source: Annotated[Path, typer.Argument(help="A file, or a folder whose files land in the order of their names.")],
    dataset: DatasetName,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Land source files and bring the partitions they touch up to date."""
    from city_platform.cli.report import LEGEND, rejects, report, tables
    from city_platform.cli.work import bring_up_to_date, land_files

    session = Session.start(home, as_json=as_json)
    with session.errors():
        chosen, platform = session.dataset(dataset), session.platform()
        if not source.exists():
            session.fail(REFUSED, f"{source} does not exist: name a file or a folder of files")
        files = sorted(path for path in source.iterdir() if path.is_file()) if source.is_dir() else [source]
        if not files:
            session.fail(REFUSED, f"{source} holds no files: name a folder with source files")
        landings, refusals = land_files(session, platform, chosen, files)
        runs = bring_up_to_date(session, platform, [chosen])
        years = report(platform, [chosen])
        rejected = rejects(platform, [chosen])[chosen.name]
    session.result(
        {
            "landed": [
                {
                    "file": one.source.name,
                    "sha256": one.source.sha256,
                    "known": one.known,
                    "rows": one.source.rows,
                    "unreadable": one.source.unreadable,
                    "unplaced": one.source.unplaced,
                    "partitions": one.partitions,
                    "drift": [drift.message for drift in one.source.drift],
                }
                for one in landings
            ],
            "partitions": [year.to_json() for year in years],
            "failures": [{"partition": run.partition, "why": run.failure} for run in runs if run.failure],
            "refused": [{"file": one.file, "why": one.why} for one in refusals],
        }
    )
    if not as_json:
        for one in landings:
            state = "known already, nothing to do" if one.known else f"{one.source.rows:,} rows"
            session.out.print(f"{one.source.name}: {state} (sha256 {one.source.sha256[:16]}…)", highlight=False)
            for drift in one.source.drift:
                session.out.print(f"  {drift.kind}: {drift.message}", style="yellow", markup=False)
        if landings or runs:  # otherwise all files were refused, and what stands is as it was
            session.out.print(*tables(years), LEGEND, sep="\n")
            session.out.print(
                f"Over all sources: {rejected['unreadable']:,} lines could not be read, "
                f"{rejected['unplaced']:,} rows had no {chosen.contract.partitioning.granularity}; both are kept."
            )
        for run in runs:
            if run.failure:
                session.err.print(f"{run.partition}: {run.failure}", style="red", markup=False)
        for refusal in refusals:
            session.err.print(refusal.why, style="red", markup=False, highlight=False)
    raise SystemExit(REFUSED if refusals else FAILED if any(run.failure for run in runs) else OK)


@app.command(epilog="Example: city-platform generate business_licences --rows 1000000 --out licences.csv")
def generate(
    dataset: Annotated[str, typer.Argument(help="Which dataset's sample to write.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")],
    rows: Annotated[int, typer.Option(min=1, help="How many rows.")] = 100_000,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 7,
    form: Annotated[str | None, typer.Option(help="As who writes it: portal, download, jsonl or an era's own.")] = None,
    as_json: Json = False,
) -> None:
    """Write sample data with the real schema and the real dirt."""
    from city_platform.cli.work import advancing, progress
    from city_platform.samples import generate as write

    session = Session.start(None, as_json=as_json)
    with session.errors():
        started = time.monotonic()
        with progress(session) as bars:
            bar = bars.add_task(f"generating {out.name}", total=rows)
            write(dataset, out, rows=rows, seed=seed, form=form, progress=advancing(bars, bar))
        seconds = time.monotonic() - started
    session.result({"file": out, "rows": rows, "bytes": out.stat().st_size, "seconds": round(seconds, 3)})
    if not as_json:
        session.out.print(
            f"{out}: {rows:,} rows, {size(out.stat().st_size)} in {seconds:.1f} s ({rows / seconds:,.0f} rows/s)"
        )


@app.command(epilog="Example: city-platform status --json")
def status(home: Home = None, as_json: Json = False) -> None:
    """Show every partition of every dataset: rows by layer, rules, gate, what is behind."""
    from city_platform.cli.report import report, tables

    session = Session.start(home, as_json=as_json)
    with session.errors():
        years = report(session.platform(), list(session.datasets().values()))
    session.result({"partitions": [year.to_json() for year in years]})
    if not as_json:
        session.out.print(
            *(tables(years) if years else [f"The lake in {session.home} is empty. Try: city-platform demo"])
        )
        for year in years:
            if year.behind:
                session.out.print(f"{year.dataset} {year.partition} is behind: {', '.join(year.behind)}")
    raise SystemExit(FAILED if any(year.gate in {"closed", "lapsed", "rejected"} for year in years) else OK)


@app.command(epilog="Example: city-platform up --port 3000")
def up(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of the web interface.")] = 3000, home: Home = None
) -> None:
    """Start Dagster's web interface and daemon on this machine's loopback address."""
    from city_platform.orchestration import orchestrator

    session = Session.start(home, as_json=False)
    with session.errors():
        session.datasets()  # a mistake in a definition shows here, not in a child's log
        session.out.print(f"Dagster: http://127.0.0.1:{port} (Ctrl-C ends it). Drop files into {session.home}/drop/")
        raise SystemExit(orchestrator().serve(session.home, port))
