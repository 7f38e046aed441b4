"""The town's platform in a temporary folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.endpoint import EndpointCreator
from moto.server import ThreadedMotoServer

from city_platform.datasets import Dataset, load_datasets
from city_platform.layers.platform import Platform
from city_platform.local.platform import local_platform
from tests.patience import PATIENCE_S
from tests.town import FIXTURES, StandingClock

REGION = "ca-central-1"


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


@pytest.fixture(scope="session")
def aws() -> Iterator[str]:
    """The address of an emulated AWS on loopback. It is shared: use names of your own in it.

    Clients wait for it as long as for all else here: on a busy machine what takes it more than the platform's patience
    would be asked for again, and refused as made already.
    """
    make = EndpointCreator.create_endpoint

    def patient(self: EndpointCreator, *arguments: Any, timeout: tuple[float, float], **options: Any) -> Any:
        return make(self, *arguments, timeout=(timeout[0], PATIENCE_S), **options)

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EndpointCreator, "create_endpoint", patient)
        yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws_environment(aws: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a deployment on it, set for this test, so that no test ever signs with real credentials."""
    settings = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": aws,
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return settings
