"""The pages that are written from the definitions are as they would be written now."""

from pathlib import Path

from typer.testing import CliRunner

from city_platform.cli.app import app
from city_platform.infrastructure.architecture import architecture
from city_platform.orchestration import orchestrator
from tests.conftest import ROOT


def test_no_page_is_stale() -> None:
    checked = CliRunner().invoke(app, ["catalog", "pages", "--check"])
    assert checked.exit_code == 0, checked.output


def test_a_page_that_was_changed_by_hand_is_found_and_written_again(tmp_path: Path) -> None:
    for name in ("data-flows.md", "etl.md", "governance.md", "architecture.drawio", "architecture.svg"):
        text = (ROOT / "docs" / name).read_text("utf-8")
        (tmp_path / name).write_text(text + ("More.\n" if name == "etl.md" else ""), "utf-8")
    run = ["catalog", "pages", "--out", str(tmp_path)]
    checked = CliRunner().invoke(app, [*run, "--check"])
    assert checked.exit_code == 1
    assert [line.split(": ")[0] for line in checked.output.splitlines() if "out of date" in line] == [
        str(tmp_path / "etl.md")
    ]
    assert CliRunner().invoke(app, run).exit_code == 0
    assert (tmp_path / "etl.md").read_bytes() == (ROOT / "docs" / "etl.md").read_bytes()


def test_the_diagrams_assets_are_in_the_graph() -> None:
    assets = orchestrator().data_flow(ROOT / ".city-platform").assets
    known = {f"layer {one.name}" for one in assets} | {f"group {one.group}" for one in assets}
    shown = {one.names for one in architecture().boxes if one.names.startswith(("layer ", "group "))}
    assert len(shown) > 10
    assert shown <= known
