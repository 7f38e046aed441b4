"""The pages that are written from the definitions are as they would be written now."""

from pathlib import Path

from typer.testing import CliRunner

from city_platform.cli.app import app
from city_platform.infrastructure.architecture import architecture
from city_platform.orchestration import orchestrator
from tests.conftest import ROOT


def test_no_page_is_stale_and_one_that_was_changed_by_hand_is_found(tmp_path: Path) -> None:
    run = ["catalog", "pages", "--out", str(tmp_path)]
    assert CliRunner().invoke(app, run).exit_code == 0
    written = {file.name: file.read_text("utf-8") for file in tmp_path.iterdir()}
    assert set(written) == {"data-flows.md", "etl.md", "governance.md", "architecture.drawio", "architecture.svg"}
    kept = {name: (ROOT / "docs" / name).read_text("utf-8") for name in written}
    stale = [name for name in written if written[name] != kept[name]]
    assert stale == [], "run: city-platform catalog pages"

    (tmp_path / "etl.md").write_text(written["etl.md"] + "More.\n", "utf-8")
    checked = CliRunner().invoke(app, [*run, "--check"])
    assert checked.exit_code == 1
    assert [line for line in checked.output.splitlines() if "out of date" in line] == [
        f"{tmp_path / 'etl.md'}: is out of date"
    ]
    assert (tmp_path / "etl.md").read_text("utf-8").endswith("More.\n")


def test_the_diagrams_assets_are_in_the_graph() -> None:
    assets = orchestrator().data_flow(ROOT / ".city-platform").assets
    known = {f"layer {one.name}" for one in assets} | {f"group {one.group}" for one in assets}
    shown = {one.names for one in architecture().boxes if one.names.startswith(("layer ", "group "))}
    assert len(shown) > 10
    assert shown <= known
