"""Traces through the lake: a published figure back to its rows, rules, recipe, sources and keys."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from city_platform.cli.app import app
from city_platform.datasets import Dataset, load_dataset
from city_platform.engines.duckdb import DuckDBSession
from city_platform.governance.decisions import Desk
from city_platform.layers import curated, freshness, landing, quality_checked, questions
from city_platform.layers.platform import Platform
from city_platform.layers.trace import Asked, Trace, trace, trace_answer
from city_platform.layers.trace_page import html, sections
from city_platform.layers.trace_rows import NoSuchRow, SeveralRows
from city_platform.local.platform import local_platform
from city_platform.samples import DATASETS, generate
from tests.town import ROOT, StandingClock, bad_trees, good_trees, trees_csv

YEAR = "2024"


def through(platform: Platform, dataset: Dataset, partition: str) -> None:
    for layer in freshness.LAYERS:
        layer.materialize(platform, dataset, partition)


@pytest.fixture
def planted(platform: Platform, trees: Dataset, tmp_path: Path) -> Platform:
    """Two kinds of trees: a tall one of each is held back by no rule, one without a species by one."""
    rows = [
        *good_trees(2024, 12),
        *((tree[0] + 500, "Tilia cordata", *tree[2:]) for tree in good_trees(2024, 7)),
        (2024900, None, "2024-05-01", "3.5", "Sam Poole"),
    ]
    landing.land(platform, trees, trees_csv(tmp_path / "trees.csv", rows))
    through(platform, trees, YEAR)
    return platform


def table_rows(platform: Platform, dataset: Dataset, partition: str) -> list[Mapping[str, str | None]]:
    """A published summary's rows as texts."""
    files = platform.lake.paths(platform.lake.require("curated", dataset.name, partition), "parquet")
    with platform.engine.session() as session:
        names = [row[0] for row in session.rows(f"DESCRIBE SELECT * FROM {session.parquet(files)}")]
        texts = ", ".join(f"CAST({session.dialect.name(one)} AS VARCHAR)" for one in names)
        return [
            dict(zip(names, row, strict=True)) for row in session.rows(f"SELECT {texts} FROM {session.parquet(files)}")
        ]


def where(row: Mapping[str, str | None]) -> Mapping[str, str]:
    return {name: value or "" for name, value in row.items()}


def test_a_row_leads_to_everything_it_is_made_of(planted: Platform, trees: Dataset) -> None:
    rows = table_rows(planted, trees, YEAR)
    found = [trace(planted, trees, YEAR, Asked(where(row), rows=100)) for row in rows]
    assert [one.differing for one in found] == [()] * len(rows)
    behind = sorted((row.source, row.row) for one in found for row in one.shown)
    assert behind == [("trees.csv", place) for place in range(19)]  # each trusted row behind one row, at its place
    one = found[0]
    manifest = planted.lake.require("curated", trees.name, YEAR)
    assert (one.version, dict(one.files)) == (manifest.version, {file.key: file.sha256 for file in manifest.files})
    (partition,) = one.partitions
    assert (partition.rows_in, partition.rows) == (20, 19)
    held = [(held.stage, held.rule_or_column, held.count) for held in partition.held_back or ()]
    assert held == [("failed rule", "is_complete_species", 1)]
    checked = planted.lake.require("quality_checked", trees.name, YEAR)
    verdict = quality_checked.verdict_of(checked)
    assert verdict is not None
    assert partition.rules == tuple(verdict.results)
    assert partition.recipe_hash == trees.recipe.hash
    (source,) = partition.sources
    assert (source.name, source.rows, source.sha256) == (
        "trees.csv",
        20,
        landing.sources(planted.lake, "trees")[0].sha256,
    )
    assert set(partition.key_ids) == {f"alias/city-platform/trees/{one}" for one in ("internal", "personal")}
    columns = {column.name: column for column in one.columns}
    assert columns["Tallest in Metres"].columns == ("Height",)
    assert columns["Tallest in Metres"].steps is not None
    json.dumps(one.to_json(), default=str)


def test_a_trace_is_of_the_version_that_was_published(
    planted: Platform, trees: Dataset, clock: StandingClock, tmp_path: Path
) -> None:
    row = table_rows(planted, trees, YEAR)[0]
    before = trace(planted, trees, YEAR, Asked(where(row), rows=50))
    for hours, trees_of in ((0, 30), (1, 40)):  # in the same moment, and later
        clock.time += timedelta(hours=hours)
        landing.land(planted, trees, trees_csv(tmp_path / "more.csv", good_trees(2024, trees_of)))
        for layer in freshness.LAYERS[: freshness.LAYERS.index(curated)]:
            layer.materialize(planted, trees, YEAR)
        assert trace(planted, trees, YEAR, Asked(where(row), rows=50)) == before
    # Pruning keeps what newest versions are made of, and not the register beside it; by hand anything can be gone.
    for layer, told in ((quality_checked.REGISTER, before.found), (quality_checked.LAYER, None)):
        old = next(planted.lake.history(layer, trees.name, YEAR))
        planted.lake.mark_pruned(old)
        for file in old.files:
            planted.lake.store.delete(file.key)
        found = trace(planted, trees, YEAR, Asked(where(row), rows=50))
        assert (found.found, found.partitions[0].held_back) == (told, None)
    assert "was pruned" in found.not_narrowed
    assert "its register was pruned" in html(found, "city-platform trace")
    # A summary that is written anew is not what made this version: nothing is narrowed by it.
    rewritten = replace(trees, curated_sql=trees.curated_sql + "\n", curated_hash="another")
    found = trace(planted, rewritten, YEAR, Asked(where(row)))
    assert found.found is None
    assert "curated.sql is another" in found.not_narrowed
    assert found.partitions[0].rules == before.partitions[0].rules


def test_a_waiver_is_told_as_it_was_and_as_it_is(
    platform: Platform, trees: Dataset, clock: StandingClock, tmp_path: Path
) -> None:
    landing.land(platform, trees, trees_csv(tmp_path / "trees.csv", bad_trees(2024)))
    before = freshness.LAYERS[: freshness.LAYERS.index(curated)]
    for layer in before:
        layer.materialize(platform, trees, YEAR)
    verdict = quality_checked.verdict_of(platform.lake.require("quality_checked", trees.name, YEAR))
    assert verdict is not None
    clock.time += timedelta(minutes=1)
    desk = Desk(platform.audit, trees.contract, trees.contract.members[0].account, "tests")
    waiver = desk.waive(verdict, verdict.failed_rules, "The gaps are known", clock.now() + timedelta(hours=2))
    # The same rows are judged again, under the waiver: the same version, another manifest.
    through(platform, trees, YEAR)
    row = table_rows(platform, trees, YEAR)[0]
    assert trace(platform, trees, YEAR, Asked(where(row))).partitions[0].waivers == ((waiver, True),)
    clock.time += timedelta(hours=3)
    found = trace(platform, trees, YEAR, Asked(where(row)))
    assert found.partitions[0].waivers == ((waiver, False),)
    assert found.borne_out
    assert "no longer" in html(found, "city-platform trace")


def test_what_no_filter_inverts_is_told_in_part(planted: Platform, trees: Dataset) -> None:
    sql = 'SELECT DISTINCT Species AS "Species" FROM trusted ORDER BY 1'
    distinct = replace(trees, curated_sql=sql, curated_hash="distinct")
    curated.materialize(planted, distinct, YEAR)
    found = trace(planted, distinct, YEAR, Asked({"Species": "Tilia cordata"}))
    assert found.found is None
    assert "DISTINCT" in found.not_narrowed
    assert found.row == {"Species": "Tilia cordata"}
    assert found.partitions[0].rows == 19
    assert any("Not narrowed" in words for one in sections(found) for words in one.words)


def test_what_other_rows_decide_too_is_no_fault(planted: Platform, trees: Dataset) -> None:
    sql = (
        'SELECT Species AS "Species", count(*) AS "Trees", sum(count(*)) OVER () AS "Of All" FROM trusted '
        "GROUP BY Species ORDER BY 1"
    )
    shares = replace(trees, curated_sql=sql, curated_hash="shares")
    curated.materialize(planted, shares, YEAR)
    found = trace(planted, shares, YEAR, Asked({"Species": "Tilia cordata"}, rows=50))
    assert found.row == {"Species": "Tilia cordata", "Trees": "7", "Of All": "19"}
    assert found.found is not None
    assert found.found.again == {"Species": "Tilia cordata", "Trees": "7", "Of All": "7"}  # of its seven rows alone
    assert (found.differing, found.found.reproduced, found.borne_out) == (("Of All",), True, True)
    assert [one.row for one in found.shown] == [*range(12, 19)]
    assert any("other rows decide, too" in words for one in sections(found) for words in one.words)


def test_a_row_that_differs_is_said(planted: Platform, trees: Dataset) -> None:
    """A published file that its rows do not bear out: somebody wrote another into the lake."""
    row = table_rows(planted, trees, YEAR)[0]
    manifest = planted.lake.require("curated", trees.name, YEAR)
    (path,) = planted.lake.paths(manifest, "parquet")
    with planted.engine.session() as session:
        names = list(row)
        changed = ", ".join(f'"{one}" + 1 AS "{one}"' if one == "Trees" else f'"{one}"' for one in names)
        table = session.connection.sql(f"SELECT {changed} FROM {session.parquet([path])}").to_arrow_table()
    path.chmod(0o600)
    pq.write_table(table, path)
    found = trace(planted, trees, YEAR, Asked({"Species": row["Species"]}))
    assert found.differing == ("Trees",)
    assert found.damaged == (manifest.parts["parquet"][0].key,)
    assert not found.borne_out
    assert found.found is not None
    assert found.found.again == row


def test_personal_values_never_show_and_internal_ones_to_the_team_alone(planted: Platform, trees: Dataset) -> None:
    row = table_rows(planted, trees, YEAR)[0]
    (steward, *_) = [one.account for one in trees.contract.members]
    for reader in (None, "somebody", steward):
        found = trace(planted, trees, YEAR, Asked(where(row), rows=100, reader=reader))
        said = json.dumps(found.to_json(), default=str) + html(found, "city-platform trace")
        assert "Sam Poole" not in said
        shown = {name for one in found.shown for name in one.values}
        kinds = {trees.contract.column(name).classification.value for name in shown}
        assert found.shown
        assert kinds <= ({"public", "internal", "personal"} if reader == steward else {"public"})
        assert any("not of the dataset's team" in note for note in found.notes) == (reader == "somebody")


def test_errors_name_what_is_near(planted: Platform, trees: Dataset) -> None:
    with pytest.raises(NoSuchRow, match=r"there is no column 'Specie'; there are: Species, Trees"):
        trace(planted, trees, YEAR, Asked({"Specie": "x"}))
    with pytest.raises(NoSuchRow, match="no row has Species=Tilia cordatta; the nearest are: Species=Tilia cordata"):
        trace(planted, trees, YEAR, Asked({"Species": "Tilia cordatta"}))
    with pytest.raises(SeveralRows, match=r"Species, Trees, .* tell them apart, as: Species=Acer rubrum, Trees=12"):
        trace(planted, trees, YEAR, Asked(column="Trees"))
    with pytest.raises(NoSuchRow, match=r"Trees is a BIGINT: 'many' is none, as [0-9]+"):
        trace(planted, trees, YEAR, Asked({"Trees": "many"}))
    with pytest.raises(NoSuchRow, match="no row has Species=' OR 1=1 --; the nearest are"):
        trace(planted, trees, YEAR, Asked({"Species": "' OR 1=1 --"}))


@pytest.mark.parametrize("name", [*DATASETS])
def test_every_sample_s_figures_are_borne_out(name: str, tmp_path: Path) -> None:
    """Generated files through all layers: rows of every summary, made again of the rows that were found."""
    dataset, mistakes = load_dataset(ROOT / "datasets" / name)
    assert dataset is not None, mistakes
    platform = local_platform(tmp_path / "home", StandingClock())
    generate(name, tmp_path / f"{name}_2025.csv", rows=250, seed=7)
    landing.land(platform, dataset, tmp_path / f"{name}_2025.csv")
    partition = freshness.partitions(platform, dataset)[-1]
    through(platform, dataset, partition)
    rows = table_rows(platform, dataset, partition)
    assert rows
    for row in rows[:: max(1, len(rows) // 3)][:3]:
        found = trace(platform, dataset, partition, Asked(where(row), rows=5))
        assert found.found is not None, found.not_narrowed
        assert found.differing == ()
        assert 0 < found.found.total <= found.partitions[0].rows


class _Page(HTMLParser):
    """What a page refers to, and its headings."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.headings: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.references += [value or "" for name, value in attributes if name in {"src", "href"}]
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(tag)


def test_the_page_needs_nothing_else(planted: Platform, trees: Dataset) -> None:
    row = table_rows(planted, trees, YEAR)[0]
    found = replace(trace(planted, trees, YEAR, Asked(where(row), "Trees", rows=3)), title="Trees & <b>shrubs</b>")
    text = html(found, "city-platform trace trees 2024")
    page = _Page(text)
    assert page.references == ["#content"]
    assert page.headings == ["h1", *["h2"] * (len(page.headings) - 1)]
    assert "<script" not in text
    assert "<b>shrubs" not in text
    assert "@media print" in text
    assert 'lang="en-CA"' in text


def figure(found: Trace) -> str | None:
    assert found.row is not None
    assert found.column is not None
    return found.row[found.column]


def test_an_answer_leads_to_the_rows_of_every_year(platform: Platform, tmp_path: Path) -> None:
    dataset, mistakes = load_dataset(ROOT / "datasets" / "business_licences")
    assert dataset is not None, mistakes
    generate(dataset.name, tmp_path / "licences.csv", rows=400, seed=3, years=(2023, 2024))
    landing.land(platform, dataset, tmp_path / "licences.csv")
    for year in freshness.partitions(platform, dataset):
        for layer in freshness.LAYERS[: freshness.LAYERS.index(curated)]:
            layer.materialize(platform, dataset, year)
    _, answers = questions.materialize(platform, dataset)
    years = next(one for one in answers if one.question.name == "employees_and_fees")
    for row in years.rows:
        asked = {"Licence Year": str(row[0])}
        found = trace_answer(platform, dataset, "employees_and_fees", Asked(asked, "Issued Licences", rows=1))
        assert found.found is not None
        assert found.found.total == int(figure(found) or 0) == row[years.headers.index("Issued Licences")]
        assert set(found.found.rows) == {str(row[0])}
        assert found.differing == ()
    fees = trace_answer(platform, dataset, "average_fee", Asked(column="With Fee"))
    assert fees.found is not None
    assert set(fees.found.rows) == {"2023", "2024"}
    assert fees.found.counted == int(figure(fees) or 0)
    with pytest.raises(NoSuchRow, match="has no question 'fee'; there are: average_employees"):
        trace_answer(platform, dataset, "fee", Asked())


def test_the_command(planted: Platform, trees: Dataset, home: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke
    del planted, trees
    answer = run(app, ["trace", "parking_tickets", "--home", str(home)])
    assert answer.exit_code == 2
    answer = run(app, ["trace", "parking_tickets", "2024", "--home", str(home), "--json"])
    assert (answer.exit_code, "has no data for 2024" in answer.stdout) == (3, True)
    generate("parking_tickets", tmp_path / "tickets.csv", rows=120, seed=5, years=(2024,))
    answer = run(app, ["ingest", str(tmp_path / "tickets.csv"), "-d", "parking_tickets", "--home", str(home)])
    assert answer.exit_code == 0, answer.output
    dataset, _ = load_dataset(ROOT / "datasets" / "parking_tickets")
    assert dataset is not None
    row = table_rows(local_platform(home, StandingClock()), dataset, "2024")[0]
    named = [word for name, value in row.items() if name != "Tickets" for word in ("-w", f"{name}={value or ''}")]
    page = tmp_path / "trace.html"
    call = ["trace", "parking_tickets", "2024", *named, "-c", "tickets", "--home", str(home)]
    answer = run(app, [*call, "--rows", "3", "--html", str(page), "--json"])
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout)
    assert (told["figure"], told["rows_behind"]["total"]) == (row["Tickets"], int(row["Tickets"] or 0))
    assert re.fullmatch("[0-9a-f-]{36}", told["run_id"])  # the run that ingest started
    assert page.stat().st_mode & 0o777 == 0o600
    assert "Made again of these rows alone" in page.read_text(encoding="utf-8")
    answer = run(app, call)
    assert "rows make this row" in answer.output
    answer = run(app, ["trace", "parking_tickets", "2024", "-w", "Bylaw=1", "--home", str(home)])
    assert answer.exit_code == 2
    assert "the nearest are: Bylaw=2" in answer.output


def test_sessions_leave_nothing_behind(planted: Platform, trees: Dataset) -> None:
    row = table_rows(planted, trees, YEAR)[0]
    trace(planted, trees, YEAR, Asked(where(row)))
    with planted.engine.session() as session:
        assert _tables(session) == []


def _tables(session: DuckDBSession) -> list[str]:
    return [row[0] for row in session.rows("SELECT table_name FROM duckdb_tables()")]
