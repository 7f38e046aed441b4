"""What all tests share: their tier by where they live, and the folder of real city files.

The rule: `unit` has no input or output beyond tmp_path and takes milliseconds; `integration` uses real servers,
emulators and files; `slow` holds drills, soak and large data and runs only when asked for (`-m slow`).
"""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# Tests start the command a hundred times: without compiled files each start spends seconds compiling all over again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# A power cut of the machine that tests run on takes nothing that anybody misses; those of tests/power.py are made up.
os.environ["CITY_PLATFORM_SYNC"] = "off"

# The default run tries the same examples every time: a change is judged by what it changes. `HYPOTHESIS_PROFILE=search`
# looks for new ones. No example has a deadline: how long it takes is the machine's, and no test asserts that.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("search", derandomize=False, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

ROOT = Path(__file__).parents[1]
TIERS = ("unit", "integration", "slow")


def pytest_configure(config: pytest.Config) -> None:
    """Where tests run, and not in the process that hands them out, datasets are loaded once."""
    if config.getoption("dist", "no") == "no":
        from tests.datasets_once import install

        install()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks each test with its tier. A test outside the three folders is a mistake."""
    for item in items:
        tier = item.path.relative_to(ROOT / "tests").parts[0]
        if tier not in TIERS:
            raise pytest.UsageError(f"{item.path} must live in one of tests/{{{','.join(TIERS)}}}")
        item.add_marker(getattr(pytest.mark, tier))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real city files, named by CITY_REAL_DATA; the test is skipped, saying so, without it."""
    folder = Path(os.environ.get("CITY_REAL_DATA", ROOT / ".." / "shared" / "data")).resolve()
    if not folder.joinpath("vancouver").is_dir():
        pytest.skip("no real city files: set CITY_REAL_DATA to a folder that holds vancouver/")
    return folder
