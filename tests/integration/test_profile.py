"""Profiles of datasets in the lake and of files outside it."""

import csv
import gzip
import html.parser
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from typer.testing import CliRunner

from city_platform.cli.app import app
from city_platform.datasets import Dataset
from city_platform.ingestion.formats import UnreadableSource
from city_platform.lake.lake import NotPublished
from city_platform.layers import cleaned, landing, profile, raw
from city_platform.layers.platform import Platform
from city_platform.profiling.files import profile_file
from city_platform.profiling.report import overview, report
from city_platform.samples import generate
from tests.town import StandingClock, Tree, bad_trees, good_trees, trees_csv

VANCOUVER = "America/Vancouver"


def cleaned_trees(platform: Platform, trees: Dataset, file: Path, years: tuple[str, ...] = ("2024",)) -> None:
    landing.land(platform, trees, file)
    for year in years:
        for layer in (raw, cleaned):
            layer.materialize(platform, trees, year)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 506 rows and 25 columns of which 8,982 of the 12,650 cells are filled."""
    folder = tmp_path_factory.mktemp("published")
    generate("business_licences", folder / "licences.csv", 506, 7, (2013,), form="download")
    with (folder / "licences.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    surplus = sum(cell != "" for row in rows for cell in row) - 8982
    for row in rows:
        for place in ("localarea", "feepaid", "businesssubtype", "geom", "geo_point_2d"):
            if surplus and row[header.index(place)]:
                row[header.index(place)] = ""
                surplus -= 1
    with (folder / "published.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return folder / "published.csv"


def test_the_published_figures_are_reproduced(published: Path) -> None:
    found = profile_file(published, VANCOUVER)
    figures = overview(found)
    assert (figures["rows"], figures["columns"]) == ("506", "25")
    assert round(found.valid_cells_percent) == 71
    assert found.valid_cells + found.invalid_cells == 8982
    assert (found.valid_rows_percent, found.duplicate_rows) == (100.0, 0)


class Page(html.parser.HTMLParser):
    """What a browser would load, run, and jump to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        named = dict(attrs)
        self.links += [str(named[name]) for name in ("href", "src") if name in named]
        self.ids += [str(named["id"])] if "id" in named else []
        if tag not in {"meta", "link", "img", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, _: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag


def test_the_report_needs_nothing_else_and_runs_nothing(tmp_path: Path) -> None:
    file = tmp_path / "trees.csv"
    file.write_text('a<b>,"x"" onload=""alert(1)"\n<script>alert(1)</script>,1\n<img src=http://x/>,2\n')
    page = Page(report(profile_file(file, VANCOUVER)))
    assert page.open == []
    assert not {"script", "img", "link", "iframe", "object"} & set(page.tags)
    assert {"main", "h1", "table", "details", "summary", "svg"} <= set(page.tags)
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)


def test_every_format_gives_the_same_profile(tmp_path: Path) -> None:
    rows = [(1, "ash", "2024-05-01"), (2, "oak", ""), (2, "oak", "")]
    plain = tmp_path / "t.csv"
    plain.write_text("\n".join(["id;kind;day", *(";".join(map(str, row)) for row in rows)]) + "\n")
    packed = tmp_path / "t.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    lines = tmp_path / "t.jsonl"
    lines.write_text("".join(json.dumps(dict(zip(("id", "kind", "day"), row, strict=True))) + "\n" for row in rows))
    table = tmp_path / "t.parquet"
    pq.write_table(
        pa.table({name: pa.array([str(row[at]) for row in rows]) for at, name in enumerate(("id", "kind", "day"))}),
        table,
    )
    wanted = profile_file(plain, VANCOUVER).to_json()
    assert [column["type"] for column in wanted["columns"]] == ["BIGINT", "VARCHAR", "DATE"]
    assert wanted["duplicate_rows"] == 1
    for file in (packed, lines):
        assert {**profile_file(file, VANCOUVER).to_json(), "name": "t.csv"} == wanted
    typed = profile_file(table, VANCOUVER)  # it says itself that they are texts
    assert [column.type for column in typed.columns] == ["VARCHAR"] * 3
    assert [column.missing for column in typed.columns] == [0, 0, 2]


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    broken = tmp_path / "broken.csv"
    broken.write_text('id,kind,ID\n1,ash,x\n2,"oak,x\n3,elm,x\n')
    found = profile_file(broken, VANCOUVER)
    assert found.rows == 2
    assert [column.name for column in found.columns] == ["id", "kind", "ID (2)"]
    assert any("line 3" in finding for finding in found.findings)
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(b"PAR1" + b"\x00" * 100)
    with pytest.raises(UnreadableSource, match="damaged"):
        profile_file(damaged, VANCOUVER)


def test_a_year_is_profiled_before_anybody_judged_it(
    platform: Platform, trees: Dataset, clock: StandingClock, tmp_path: Path
) -> None:
    rows: list[Tree] = [*bad_trees(2024), (7, "Acer rubrum", "2024-06-01", "tall", "Sam Poole")]
    cleaned_trees(platform, trees, trees_csv(tmp_path / "trees.csv", rows))
    manifest, found = profile.materialize(platform, trees, "2024")
    named = {column.name: column for column in found.columns}
    assert (found.rows, named["Species"].missing) == (21, 10)
    assert (named["Height"].invalid, named["Height"].missing) == (1, 0)
    assert named["Planter"].withheld
    assert named["Species"].top == (("Acer rubrum", 11),)
    stored = {part: platform.lake.paths(manifest, part)[0].read_text() for part in ("json", "html")}
    assert json.loads(stored["json"]) == json.loads(json.dumps(found.to_json()))
    assert "Sam Poole" not in stored["json"] + stored["html"] + manifest.to_json().decode()
    clock.time = clock.time.replace(hour=23)
    assert profile.materialize(platform, trees, "2024")[0] == manifest  # the same rows, the same bytes, nothing written
    assert dict(manifest.inputs) == dict(profile.inputs(platform, trees, "2024") or {})
    with pytest.raises(NotPublished, match="2023"):
        profile.materialize(platform, trees, "2023")


def test_years_are_profiled_together(platform: Platform, trees: Dataset, tmp_path: Path) -> None:
    file = trees_csv(tmp_path / "trees.csv", [*good_trees(2023), *good_trees(2024)])
    cleaned_trees(platform, trees, file, ("2023", "2024"))
    assert profile.profile_of(platform, trees, ["2023", "2024"]).rows == 40


def test_the_command_profiles_a_file_and_leaves_no_lake_behind(published: Path, tmp_path: Path) -> None:
    home, page = tmp_path / "home", tmp_path / "profile.html"

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(app, ["profile", *map(str, arguments), "--home", str(home)])

    done = call(published, "--html", page, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["rows"], told["column_count"], told["html"]) == (506, 25, str(page))
    assert page.stat().st_mode & 0o077 == 0
    assert not home.exists()
    done = call(tmp_path / "nothing.csv")
    assert done.exit_code == 2
    assert "business_licences" in done.output
    assert call(published, "--timezone", "Nowhere/Else").exit_code == 2


REAL = {
    "business-licences/portal-subset-2025.csv": (3385, 25),
    "animal-control/animal-control-inventory-lost-and-found.csv": (17628, 6),
}


@pytest.mark.real_data
@pytest.mark.parametrize("name", REAL)
def test_real_files_have_the_shape_their_list_says(real_data: Path, name: str) -> None:
    found = profile_file(real_data / "vancouver" / name, VANCOUVER)
    assert (found.rows, len(found.columns)) == REAL[name]
    assert found.valid_cells + found.missing_cells + found.invalid_cells == found.cells
    personal = {column.name: column for column in found.columns if column.withheld}
    assert ("PostalCode" in personal) == (len(found.columns) == 25)
    assert all(not column.top and column.numbers is None for column in personal.values())
