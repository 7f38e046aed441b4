"""The masked view of trusted rows: every personal column appears as its contract's `Masking` says.

A pseudonym is HMAC-SHA256 (RFC 2104) of the normalised value under a secret key of the dataset, the first 128 bits
as hexadecimal digits. Without the key nobody can try names or addresses until one fits; with it the same value in
the same column always gets the same pseudonym, and the same value in two columns two.
"""

import hashlib
import hmac
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from city_platform.contracts.model import Classification, Column, Contract, Masking
from city_platform.engines.dialect import Dialect
from city_platform.ports import KeyService, ObjectStore
from city_platform.protection.classification import master_key
from city_platform.protection.secret import kept_secret, wrap_again

if TYPE_CHECKING:
    from city_platform.engines.duckdb import DuckDBSession

PSEUDONYM_HEX_DIGITS = 32

_POSTAL_CODE = "[ABCEGHJ-NPRSTVXY][0-9][ABCEGHJ-NPRSTV-Z][ -]?[0-9][ABCEGHJ-NPRSTV-Z][0-9]"
_LATITUDE = "(-?[0-9]{1,2}(?:[.][0-9]+)?)"
_LONGITUDE = "(-?(?:1[0-8][0-9]|[0-9]{1,2})(?:[.][0-9]+)?)"


def masked_select(
    contract: Contract,
    dialect: Dialect,
    relation: str,
    pseudonym: str | None = None,
    beside: Sequence[str] = (),
    *,
    columns: Collection[str] | None = None,
) -> str:
    """SQL for the contract's columns of `relation` (a table or view of trusted rows), personal ones masked, and for
    those of the platform's own columns that `beside` names.

    Internal columns stay as they are: what of them is published, the dataset's summary decides. A personal column
    without a masking is redacted. `columns` names those that are wanted, if not all are. Where one
    `needs_pseudonym`, `pseudonym` names the function `register_pseudonym` made.
    """
    shown = [one for one in contract.columns if columns is None or one.name in columns]
    if pseudonym is None and any(map(needs_pseudonym, shown)):
        raise ValueError(f"{contract.name} has pseudonyms: register the function and name it")
    selected = [_masked(contract.name, column, dialect, pseudonym) for column in shown]
    return f"SELECT {', '.join([*selected, *map(dialect.name, beside)])} FROM {dialect.name(relation)}"


def masked_type(column: Column) -> str:
    """The column's SQL type in the masked view."""
    kept = not column.personal or column.masking in {None, Masking.REDACT}
    return column.sql_type if kept else "VARCHAR"


def needs_pseudonyms(contract: Contract) -> bool:
    return any(map(needs_pseudonym, contract.columns))


def needs_pseudonym(column: Column) -> bool:
    """Whether the column is masked by the dataset's secret."""
    return column.personal and column.masking is Masking.PSEUDONYM


def pseudonym_key(keys: KeyService, store: ObjectStore, dataset: str) -> bytes:
    """The dataset's secret for pseudonyms, 32 bytes; made at the first call, the same ever after.

    It is stored wrapped under the dataset's key for personal columns, at `protection/{dataset}/pseudonym-key`.
    Deleting that object makes all pseudonyms of the dataset untraceable for ever. Raises the key service's errors.
    """
    return kept_secret(keys, store, *_pseudonym_secret(dataset))


def pseudonym_key_place(dataset: str) -> str:
    """The key of the object that holds a dataset's secret for pseudonyms, wrapped."""
    return f"protection/{dataset}/pseudonym-key"


def wrap_pseudonym_key_again(keys: KeyService, store: ObjectStore, dataset: str) -> bool:
    """Wraps the secret for pseudonyms under what its key encrypts with now; False where there is none."""
    return wrap_again(keys, store, *_pseudonym_secret(dataset))


def _pseudonym_secret(dataset: str) -> tuple[str, str, Mapping[str, str]]:
    """Place, master key and context."""
    context = {"dataset": dataset, "purpose": "pseudonyms"}
    return pseudonym_key_place(dataset), master_key(dataset, Classification.PERSONAL), context


def register_pseudonym(session: "DuckDBSession", key: bytes) -> str:
    """Gives the session a SQL function of (domain, value) and returns its name. Null stays null."""
    from duckdb.func import FunctionNullHandling  # pseudonyms are also made where nothing is queried

    def apply(domain: pa.ChunkedArray, value: pa.ChunkedArray) -> pa.Array:
        # A call is one piece of one expression, whose domain is a literal.
        pseudonym = pseudonymizer(key, domain[0].as_py())
        encoded = value.combine_chunks().dictionary_encode()
        hashed = [pseudonym(one) for one in encoded.dictionary.to_pylist()]
        return pa.array(hashed, pa.string()).take(encoded.indices)

    return session.function(apply, ["VARCHAR", "VARCHAR"], "VARCHAR", null_handling=FunctionNullHandling.SPECIAL)


def pseudonymizer(key: bytes, domain: str) -> Callable[[str], str]:
    """From values to pseudonyms within a domain, `{dataset}/{column}`, which gets a key of its own.

    Spellings that differ only in case, spacing or Unicode compatibility form get the same pseudonym.
    """
    block = hmac.digest(key, domain.encode(), "sha256").ljust(64, b"\0")
    # RFC 2104 by hand: hashing the two key blocks once makes a million values three times as fast as hmac.digest.
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
    outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def pseudonym(value: str) -> str:
        normalised = " ".join(unicodedata.normalize("NFKC", value).casefold().split())
        within = inner.copy()
        within.update(normalised.encode())
        around = outer.copy()
        around.update(within.digest())
        return around.hexdigest()[:PSEUDONYM_HEX_DIGITS]

    return pseudonym


def _masked(dataset: str, column: Column, dialect: Dialect, pseudonym: str | None) -> str:
    name = dialect.name(column.name)
    if not column.personal:
        return name
    redacted = column.masking in {None, Masking.REDACT}
    text = name if column.sql_type.upper() == "VARCHAR" or redacted else dialect.typed_text(name)
    match column.masking:
        case Masking.PSEUDONYM:
            sql = f"{pseudonym}({dialect.text(f'{dataset}/{column.name}')}, {text})"
        case Masking.POSTAL_AREA:
            sql = _postal_area(text, dialect)
        case Masking.COARSE_POINT:
            sql = _coarse_point(text, dialect)
        case Masking.REDACT | None:
            sql = dialect.null(column.sql_type)
    return f"{sql} AS {name}"


def _postal_area(sql: str, dialect: Dialect) -> str:
    """The forward sortation area, `V6B`, of what has the form of a whole Canadian postal code; else null."""
    code = dialect.upper(dialect.trim(sql))
    return f"CASE WHEN {dialect.matches_fully(code, _POSTAL_CODE)} THEN substr({code}, 1, 3) END"


def _coarse_point(sql: str, dialect: Dialect) -> str:
    """`49.28, -123.12`: latitude and longitude to two decimals, about a kilometre; null for what is no point.

    Read are GeoJSON geometries and features (longitude first), `lon`/`lat` pairs under their names, both with or
    without quotes, and the bare text `latitude, longitude`.
    """
    geojson = f"coordinates[\"': ]*[[] *{_LONGITUDE} *, *{_LATITUDE} *[]]"
    bare = f"^[( ]*{_LATITUDE} *, *{_LONGITUDE}[) ]*$"
    named = [(f"{name}[\"': ]+{number} *[,}}]", 1) for name, number in (("lat", _LATITUDE), ("lon", _LONGITUDE))]
    return (
        f"CASE WHEN {sql} LIKE '%coordinates%' THEN {_pair(sql, [(geojson, 2), (geojson, 1)], dialect)}"
        f" WHEN {sql} LIKE '%lat%' THEN {_pair(sql, named, dialect)}"
        f" ELSE {_pair(sql, [(bare, 1), (bare, 2)], dialect)} END"
    )


def _pair(sql: str, found_by: Sequence[tuple[str, int]], dialect: Dialect) -> str:
    """`latitude, longitude`, each found by a pattern and the number of the group that holds it."""
    return " || ', ' || ".join(
        dialect.as_text(f"CAST(NULLIF({dialect.extract_match(sql, pattern, group)}, '') AS DECIMAL(5,2))")
        for pattern, group in found_by
    )
