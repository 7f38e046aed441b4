"""The live page in a browser: its script is allowed to run, asks again, and swaps what is new into the page."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from city_platform.local.traffic_state import SqliteTrafficState
from tests.live_traffic import SAID, count, told
from tests.patience import PATIENCE_S
from tests.served import served

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)


@pytest.mark.skipif(not BROWSER, reason="no Chromium is installed here")
@pytest.mark.parametrize(("page", "asked"), [("/traffic", 3), ("/traffic?refresh=off", 1)])
def test_the_page_renews_itself_until_it_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: str, asked: int
) -> None:
    for name, value in SAID.items():
        monkeypatch.setenv(name, value)
    home = tmp_path / "home"
    count(SqliteTrafficState(home / "traffic" / "state.sqlite"), told(int(time.time()) // 10 * 10_000 - 10_000))
    profile = f"--user-data-dir={tmp_path / 'browser'}"
    options = ["--headless", "--no-sandbox", "--disable-gpu", profile, "--virtual-time-budget=12000", "--dump-dom"]
    with served(home) as api:
        shown = subprocess.run(
            [BROWSER, *options, f"{api.address}{page}"], capture_output=True, text=True, timeout=PATIENCE_S, check=True
        ).stdout
    lines = [json.loads(line) for line in (tmp_path / "serve.log").read_text().splitlines() if line.startswith("{")]
    assert sum(line["route"] == "/traffic" for line in lines) >= asked
    assert asked > 1 or sum(line["route"] == "/traffic" for line in lines) == 1
    assert len(re.findall(r'<a href="/traffic/zones/z-00\d" tabindex', shown)) == 4
    assert '<p class="note" id="lost" role="status" hidden=""></p>' in shown
