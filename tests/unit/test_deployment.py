"""Which adapters a process works with is said by its environment, and everything missing is named at once."""

from pathlib import Path

import pytest

from city_platform.aws.settings import IncompleteSettings
from city_platform.deployment import UnknownDeployment, open_platform
from city_platform.local.store import LocalObjectStore


@pytest.mark.parametrize("environ", [{}, {"CITY_PLATFORM_DEPLOYMENT": ""}, {"CITY_PLATFORM_DEPLOYMENT": "local"}])
def test_the_embedded_default_needs_no_settings(environ: dict[str, str], tmp_path: Path) -> None:
    platform = open_platform(tmp_path, environ)
    assert isinstance(platform.lake.store, LocalObjectStore)
    assert list(tmp_path.iterdir()) == []  # opening it makes nothing


def test_aws_names_every_missing_setting_at_once(tmp_path: Path) -> None:
    with pytest.raises(IncompleteSettings) as refusal:
        open_platform(tmp_path, {"CITY_PLATFORM_DEPLOYMENT": "aws"})
    for name in ("CITY_PLATFORM_BUCKET", "CITY_PLATFORM_ALERTS_TOPIC", "AWS_REGION"):
        assert name in str(refusal.value)


def test_another_name_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownDeployment, match="'azure' is none of: local, aws"):
        open_platform(tmp_path, {"CITY_PLATFORM_DEPLOYMENT": "azure"})
