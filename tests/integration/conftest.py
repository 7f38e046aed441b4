"""The town's platform in a temporary folder."""

from pathlib import Path

import pytest

from city_platform.datasets import Dataset, load_datasets
from city_platform.layers.platform import Platform
from city_platform.local.platform import local_platform
from tests.town import FIXTURES, StandingClock


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def platform(home: Path, clock: StandingClock) -> Platform:
    return local_platform(home, clock, threads=2)


@pytest.fixture(scope="session")
def trees() -> Dataset:
    (dataset,) = load_datasets(FIXTURES)
    return dataset
