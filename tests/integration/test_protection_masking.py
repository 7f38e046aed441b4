"""The masked view on the real engine: what each masking shows, and that nothing else of a personal value survives."""

import hashlib
import hmac
import itertools
import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from city_platform.contracts.model import Classification, Column, Contract, Masking, Partitioning, PartitionTransform
from city_platform.engines.dialect import DuckDBDialect
from city_platform.engines.duckdb import DuckDBEngine, DuckDBSession
from city_platform.local.keys import LocalKeyService
from city_platform.local.store import LocalObjectStore
from city_platform.ports import KeyDisabled, KeyNotFound, ObjectExists, ObjectNotFound, WrongKey
from city_platform.protection.classification import master_keys
from city_platform.protection.masking import (
    masked_select,
    masked_type,
    needs_pseudonyms,
    pseudonym_key,
    pseudonymizer,
    register_pseudonym,
)

SECRET = bytes(range(32))


def column(name: str, masking: Masking | None, sql_type: str = "VARCHAR") -> Column:
    return Column(
        name=name,
        source_name=name,
        aliases=(),
        logical_type="string",
        sql_type=sql_type,
        classification=Classification.PERSONAL,
        description="",
        required_in_source=True,
        nullable=True,
        key_position=None,
        masking=masking,
        line=1,
    )


def contract(*columns: Column) -> Contract:
    return Contract(
        id="urn:licences",
        name="licences",
        title="Licences",
        purpose="",
        version="1.0.0",
        owner="team:open-data",
        domain="business",
        licence="OGL",
        source_url="https://example.org",
        cadence="daily",
        freshness=timedelta(days=1),
        columns=columns,
        partitioning=Partitioning("Year", PartitionTransform.FOUR_DIGITS),
        latest_by=None,
    )


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckDBSession]:
    with DuckDBEngine(tmp_path_factory.mktemp("engine")).session() as session:
        yield session


def masked(session: DuckDBSession, masking: Masking | None, values: Sequence[str | None]) -> list[str | None]:
    """The values of a column `Value` as the masked view shows them."""
    session.connection.execute(
        'CREATE OR REPLACE TEMP TABLE trusted AS SELECT unnest(?::VARCHAR[]) AS "Value"', [list(values)]
    )
    function = register_pseudonym(session, SECRET)
    select = masked_select(contract(column("Value", masking)), session.dialect, "trusted", function)
    return [row[0] for row in session.rows(select)]


@pytest.mark.parametrize(
    ("text", "area"),
    [
        ("V6B 1G1", "V6B"),
        ("v6b1g1", "V6B"),
        (" V6B-1G1 ", "V6B"),
        ("V6B 15G", None),
        ("V6B", None),
        ("V6B 1G1 and more", None),
        ("D6B 1G1", None),  # no Canadian code starts with D
        ("98101", None),
        ("NOT APPLIC", None),
        ("", None),
        (None, None),
    ],
)
def test_postal_codes_show_their_area_alone(session: DuckDBSession, text: str | None, area: str | None) -> None:
    assert masked(session, Masking.POSTAL_AREA, [text]) == [area]


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ('{"coordinates": [-123.116226, 49.246292], "type": "Point"}', "49.25, -123.12"),
        ('{"type": "Point", "coordinates": [-123.116226,49.246292]}', "49.25, -123.12"),
        (
            "{type: Feature, geometry: {coordinates: [-123.116226, 49.246292], type: Point}, properties: {}}",
            "49.25, -123.12",
        ),
        ("{'type': 'Point', 'coordinates': [-123.116226, 49.246292]}", "49.25, -123.12"),
        ("{'lon': -123.116226, 'lat': 49.246292}", "49.25, -123.12"),
        ('{"lat": 49.246292, "lon": -123.116226}', "49.25, -123.12"),
        ("{lon: -123.116226, lat: 49.246292}", "49.25, -123.12"),
        ("49.246292, -123.116226", "49.25, -123.12"),
        ("(49.246292,-123.116226)", "49.25, -123.12"),
        ("49, -123", "49.00, -123.00"),
        ("-0.001, 0.004", "0.00, 0.00"),
        ('{"coordinates": [-1234.5, 49.2], "type": "Point"}', None),
        ('{"coordinates": [[-123.1, 49.2], [-123.2, 49.3]], "type": "LineString"}', None),
        ("{'lon': -123.116226}", None),
        ("49.246292", None),
        ("12 Main Street, 49", None),
        ("flat 3, 49.2, -123.1", None),
        ("", None),
        (None, None),
    ],
)
def test_points_show_about_a_kilometre(session: DuckDBSession, text: str | None, point: str | None) -> None:
    assert masked(session, Masking.COARSE_POINT, [text]) == [point]


@pytest.mark.parametrize("masking", [Masking.REDACT, None])
@pytest.mark.parametrize("sql_type", ["VARCHAR", "DATE", "DECIMAL(12,2)"])
def test_redacted_columns_are_null_and_keep_their_type(
    session: DuckDBSession, masking: Masking | None, sql_type: str
) -> None:
    session.execute(f"CREATE OR REPLACE TEMP TABLE trusted AS SELECT CAST(NULL AS {sql_type}) AS Value")
    one = column("Value", masking, sql_type)
    session.execute(f"CREATE OR REPLACE TEMP VIEW shown AS {masked_select(contract(one), session.dialect, 'trusted')}")
    assert session.rows("SELECT column_type FROM (DESCRIBE shown)") == [(sql_type,)]
    assert masked_type(one) == sql_type
    assert masked(session, masking, ["a", None]) == [None, None]


def test_only_personal_columns_are_touched_and_only_contract_columns_shown(session: DuckDBSession) -> None:
    public = replace(column("Status", None), classification=Classification.PUBLIC)
    internal = replace(column("RSN", None, "BIGINT"), classification=Classification.INTERNAL)
    session.execute(
        "CREATE OR REPLACE TEMP TABLE trusted AS SELECT 'Ann' AS Name, 7::BIGINT AS RSN, 'Issued' AS Status, 0 AS _row"
    )
    select = masked_select(contract(public, internal, column("Name", Masking.REDACT)), session.dialect, "trusted")
    result = session.connection.sql(select)
    assert (result.columns, result.fetchall()) == (["Status", "RSN", "Name"], [("Issued", 7, None)])


def test_names_with_quotes_stay_names(session: DuckDBSession) -> None:
    odd = column('it\'s "odd"', Masking.PSEUDONYM)
    session.execute(f"CREATE OR REPLACE TEMP TABLE trusted AS SELECT 'Ann' AS {session.dialect.name(odd.name)}")
    function = register_pseudonym(session, SECRET)
    assert session.rows(masked_select(contract(odd), session.dialect, "trusted", function)) == [
        (pseudonymizer(SECRET, f"licences/{odd.name}")("Ann"),)
    ]


def test_a_pseudonym_is_hmac_sha256_of_the_normalised_value(session: DuckDBSession) -> None:
    subkey = hmac.digest(SECRET, b"licences/Value", "sha256")
    expected = hmac.digest(subkey, "ann o'neil café".encode(), "sha256").hex()[:32]
    spellings = ["Ann O'Neil Café", "  ANN   o'neil\tCAFE\u0301 ", "Ann O'Neil Caf\u00e9"]
    assert masked(session, Masking.PSEUDONYM, spellings) == [expected] * 3


def test_values_that_are_no_text_have_pseudonyms_too(session: DuckDBSession) -> None:
    session.execute("CREATE OR REPLACE TEMP TABLE trusted AS SELECT DATE '2024-05-01' AS Born")
    born = column("Born", Masking.PSEUDONYM, "DATE")
    function = register_pseudonym(session, SECRET)
    assert session.rows(masked_select(contract(born), session.dialect, "trusted", function)) == [
        (pseudonymizer(SECRET, "licences/Born")("2024-05-01"),)
    ]
    assert masked_type(born) == "VARCHAR"


def test_pseudonyms_keep_their_rows_over_many_pieces(session: DuckDBSession) -> None:
    values = [None if number % 7 == 0 else f"name {number % 3000}" for number in range(20_000)]
    pseudonym = pseudonymizer(SECRET, "licences/Value")
    assert masked(session, Masking.PSEUDONYM, values) == [None if one is None else pseudonym(one) for one in values]
    assert masked(session, Masking.PSEUDONYM, [None] * 5000) == [None] * 5000


def test_a_dictionary_of_all_postal_codes_needs_the_key(session: DuckDBSession) -> None:
    """Whoever holds the pseudonyms and knows the method, but not the key, cannot try all values."""
    letters, digits = "ABCEGHJKLMNPRSTVXYWZ", string.digits
    dictionary = [f"V6B {a}{b}{c}" for a, b, c in itertools.product(digits, letters, digits)]
    stolen = masked(session, Masking.PSEUDONYM, ["V6B 1G1"])
    guesses = {hashlib.sha256(one.casefold().encode()).hexdigest()[:32] for one in dictionary}
    for wrong in (b"", bytes(32), SECRET[:-1] + b"\0"):
        guesses |= set(map(pseudonymizer(wrong, "licences/Value"), dictionary))
    assert not guesses & set(stolen)
    # The same dictionary finds it with the key, so the test would notice a missing one.
    assert stolen[0] in set(map(pseudonymizer(SECRET, "licences/Value"), dictionary))


def test_datasets_and_columns_do_not_share_pseudonyms() -> None:
    domains = ["licences/Name", "licences/TradeName", "tickets/Name"]
    assert len({pseudonymizer(SECRET, domain)("Ann") for domain in domains}) == len(domains)


def test_only_a_contract_with_pseudonyms_needs_their_key() -> None:
    assert needs_pseudonyms(contract(column("Name", Masking.PSEUDONYM)))
    assert not needs_pseudonyms(contract(column("Name", Masking.REDACT), column("Street", None)))


personal_values = st.one_of(
    st.none(),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30),
    st.from_regex(r"[A-Z][0-9][A-Z] ?[0-9][A-Z][0-9]", fullmatch=True),
    st.tuples(st.floats(-90, 90), st.floats(-180, 180)).map(lambda pair: f"{pair[0]:.6f}, {pair[1]:.6f}"),
)


def shows_at_most(masking: Masking, raw: str | None, shown: str | None) -> bool:
    """Whether the masked form is one that cannot hold more of a value than the masking promises."""
    if raw is None or shown is None:
        return shown is None
    match masking:
        case Masking.REDACT:
            return False
        case Masking.PSEUDONYM:
            return re.fullmatch("[0-9a-f]{32}", shown) is not None
        case Masking.POSTAL_AREA:
            return re.fullmatch("[A-Z][0-9][A-Z]", shown) is not None and len(raw.strip()) >= 6
        case Masking.COARSE_POINT:
            return re.fullmatch(r"-?\d+\.\d\d, -?\d+\.\d\d", shown) is not None


@given(values=st.lists(personal_values, min_size=30, max_size=60))
@settings(max_examples=20)
def test_no_masked_value_holds_the_raw_one(session: DuckDBSession, values: list[str | None]) -> None:
    for masking in Masking:
        shown = masked(session, masking, values)
        assert all(itertools.starmap(partial(shows_at_most, masking), zip(values, shown, strict=True)))


@pytest.fixture
def keys(tmp_path: Path) -> LocalKeyService:
    service = LocalKeyService(tmp_path / "keys" / "keys.json")
    for dataset in ("licences", "tickets"):
        for key in master_keys(dataset):
            service.create(key)
    return service


def test_the_pseudonym_key_is_the_same_in_every_session_and_after_rotation(
    tmp_path: Path, keys: LocalKeyService
) -> None:
    first = pseudonym_key(keys, LocalObjectStore(tmp_path / "lake"), "licences")
    for key in master_keys("licences"):
        keys.rotate(key)
    again = LocalKeyService(tmp_path / "keys" / "keys.json")
    assert pseudonym_key(again, LocalObjectStore(tmp_path / "lake"), "licences") == first
    assert len(first) == 32
    for path in (tmp_path / "lake").rglob("*"):
        assert path.is_dir() or first not in path.read_bytes()


def test_each_dataset_has_its_own_pseudonym_key(tmp_path: Path, keys: LocalKeyService) -> None:
    store = LocalObjectStore(tmp_path / "lake")
    assert pseudonym_key(keys, store, "licences") != pseudonym_key(keys, store, "tickets")
    store.put("protection/tickets/pseudonym-key", store.get("protection/licences/pseudonym-key"))
    with pytest.raises(WrongKey):
        pseudonym_key(keys, store, "tickets")


def test_two_first_users_get_the_same_pseudonym_key(tmp_path: Path, keys: LocalKeyService) -> None:
    class Late(LocalObjectStore):
        """Finds nothing at its first look: another process writes right after it."""

        looked = False

        def get(self, key: str) -> bytes:
            if not self.looked:
                self.looked = True
                raise ObjectNotFound(key)
            return super().get(key)

    winner = pseudonym_key(keys, LocalObjectStore(tmp_path / "lake"), "licences")
    assert pseudonym_key(keys, Late(tmp_path / "lake"), "licences") == winner
    with pytest.raises(ObjectExists):
        LocalObjectStore(tmp_path / "lake").put("protection/licences/pseudonym-key", b"", create_only=True)


def test_without_its_master_key_there_are_no_pseudonyms(tmp_path: Path, keys: LocalKeyService) -> None:
    store = LocalObjectStore(tmp_path / "lake")
    with pytest.raises(KeyNotFound, match="alias/city-platform/permits/personal"):
        pseudonym_key(keys, store, "permits")
    pseudonym_key(keys, store, "licences")
    keys.disable(master_keys("licences")[1])
    with pytest.raises(KeyDisabled):
        pseudonym_key(keys, store, "licences")


def test_the_select_is_plain_where_nothing_is_personal() -> None:
    public = replace(column("Status", None), classification=Classification.PUBLIC)
    assert masked_select(contract(public), DuckDBDialect(), "passed") == 'SELECT "Status" FROM "passed"'
