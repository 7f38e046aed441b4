"""The citizens' form in a browser: what was typed stays on the device, is not sent into nothing, and goes when sent."""

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.served import served

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
TYPED = """
(() => {
  const title = document.getElementById("title");
  title.value = 'Old "sofa" & more';
  document.getElementById("contact.email").value = "kim@example.org";
  document.querySelector("[value=mattress]").checked = true;
  title.dispatchEvent(new Event("input", { bubbles: true }));
})()
"""
SHOWN = """
[title.value, document.getElementById("contact.email").value, document.querySelector("[value=mattress]").checked,
 document.getElementById("draft").hidden]
"""


class Tab:
    """A tab of a browser without a window, told what to do over its DevTools protocol."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._ids = count(1)

    def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            if answer.get("id") == number:
                found: dict[str, Any] = answer["result"]
                return found

    def run(self, script: str) -> Any:
        return self.do("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def until(self, script: str) -> None:
        for _ in range(300):
            if self.run(script):
                return
            time.sleep(0.1)
        raise AssertionError(f"it did not come true: {script}")

    def open(self, address: str) -> None:
        self.do("Page.navigate", url=address)
        # Modules run before this event; the text before it is of the page that was left.
        self.until(f"location.href === {json.dumps(address)} && document.readyState === 'complete'")


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[Tab]:
    profile = tmp_path / "browser"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", f"--user-data-dir={profile}"]
    process = subprocess.Popen([BROWSER, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        told = profile / "DevToolsActivePort"
        for _ in range(600):
            if told.exists() and "\n" in told.read_text():
                break
            time.sleep(0.1)
        port = told.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as listed:
            page = next(one for one in json.load(listed) if one["type"] == "page")
        with connect(page["webSocketDebuggerUrl"], max_size=None) as socket:
            yield Tab(socket)
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.skipif(not BROWSER, reason="no Chromium is installed here")
def test_a_draft_outlives_its_page_and_not_its_report(tmp_path: Path, tab: Tab) -> None:
    with served(tmp_path / "home") as api:
        form = f"{api.address}/report?category=waste"
        tab.open(form)
        assert tab.run(SHOWN) == ["", "", False, True]
        tab.run(TYPED)
        tab.open(f"{api.address}/dashboard")
        tab.open(form)
        assert tab.run(SHOWN) == ['Old "sofa" & more', "", True, False], "all but what is about the person"
        tab.do("Network.enable")
        away = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        tab.do("Network.emulateNetworkConditions", offline=True, **away)
        tab.run("document.querySelector('form[method=post]').requestSubmit()")
        assert "There is no connection" in tab.run("document.getElementById('draft').innerText")
        tab.do("Network.emulateNetworkConditions", offline=False, **away)
        tab.until("navigator.onLine")
        tab.run("document.getElementById('address').value = '1 Main Street'")
        tab.run("document.querySelector('form[method=post]').requestSubmit()")
        tab.until("location.pathname.startsWith('/report/done/') && document.readyState === 'complete'")
        assert 'Old "sofa" & more' in tab.run("document.body.innerText")
        tab.open(form)
        assert tab.run(SHOWN) == ["", "", False, True]
