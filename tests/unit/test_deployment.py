"""Which adapters a process works with is said by its environment, and everything missing is named at once."""

from pathlib import Path

import pytest

from city_platform.aws.settings import BUCKETS, IncompleteSettings
from city_platform.deployment import UnknownDeployment, open_platform
from city_platform.deployment.incidents import NobodyToWriteTo, open_reference, require_contact
from city_platform.incidents.reference import BadReference
from city_platform.local.store import LocalObjectStore


@pytest.mark.parametrize("environ", [{}, {"CITY_PLATFORM_DEPLOYMENT": ""}, {"CITY_PLATFORM_DEPLOYMENT": "local"}])
def test_the_embedded_default_needs_no_settings(environ: dict[str, str], tmp_path: Path) -> None:
    platform = open_platform(tmp_path, environ)
    assert isinstance(platform.lake.store, LocalObjectStore)
    assert list(tmp_path.iterdir()) == []  # opening it makes nothing


def test_aws_names_every_missing_setting_at_once(tmp_path: Path) -> None:
    with pytest.raises(IncompleteSettings) as refusal:
        open_platform(tmp_path, {"CITY_PLATFORM_DEPLOYMENT": "aws"})
    for name in (*BUCKETS.values(), "CITY_PLATFORM_ALERTS_TOPIC", "AWS_REGION"):
        assert name in str(refusal.value)


def test_another_name_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownDeployment, match="'azure' is none of: local, aws"):
        open_platform(tmp_path, {"CITY_PLATFORM_DEPLOYMENT": "azure"})


@pytest.mark.parametrize(
    "public", [{"CITY_PLATFORM_DEPLOYMENT": "aws"}, {"CITY_PLATFORM_PUBLIC_URL": "https://data.city"}]
)
def test_a_public_service_names_a_mailbox_that_somebody_reads(public: dict[str, str]) -> None:
    require_contact(open_reference({}), {})
    for nobody in ("", "nobody@city.invalid", "open-data@City.EXAMPLE.", "a@example.org"):
        environ = public | {"CITY_PLATFORM_CONTACT": nobody}
        with pytest.raises(NobodyToWriteTo, match="CITY_PLATFORM_CONTACT"):
            require_contact(open_reference(environ), environ)
    environ = public | {"CITY_PLATFORM_CONTACT": "open-data@city.internal"}
    reference = open_reference(environ)
    require_contact(reference, environ)
    assert reference.city.contact == "open-data@city.internal"


def test_what_is_no_address_is_refused_without_repeating_it() -> None:
    with pytest.raises(BadReference, match="e-mail address") as refusal:
        open_reference({"CITY_PLATFORM_CONTACT": "somebody"})
    assert "somebody" not in str(refusal.value)
