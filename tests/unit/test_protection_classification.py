import pytest

from city_platform.contracts.model import Classification, Column
from city_platform.protection.classification import Unclassified, keys_of_columns, master_key, master_keys


def column(name: str, classification: Classification) -> Column:
    return Column(
        name=name,
        source_name=name,
        aliases=(),
        logical_type="string",
        sql_type="VARCHAR",
        classification=classification,
        description="",
        required_in_source=True,
        nullable=True,
        key_position=None,
        masking=None,
        line=1,
    )


COLUMNS = [
    column("Status", Classification.PUBLIC),
    column("LicenceNumber", Classification.INTERNAL),
    column("BusinessName", Classification.PERSONAL),
]


def test_a_column_goes_under_the_key_of_its_classification() -> None:
    keys = keys_of_columns("licences", COLUMNS, ["BusinessName", "Status", "LicenceNumber", "_row"])
    assert keys == {
        "BusinessName": "alias/city-platform/licences/personal",
        "LicenceNumber": "alias/city-platform/licences/internal",
        "_row": "alias/city-platform/licences/internal",
    }
    assert set(keys.values()) == set(master_keys("licences"))


def test_columns_nobody_classified_are_all_named() -> None:
    with pytest.raises(Unclassified, match=r"licences: .*Phone, Email"):
        keys_of_columns("licences", COLUMNS, ["Status", "Phone", "Email"])


def test_public_columns_have_no_key() -> None:
    with pytest.raises(ValueError, match="public"):
        master_key("licences", Classification.PUBLIC)
