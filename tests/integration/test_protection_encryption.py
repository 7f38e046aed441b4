"""The encrypted layer's files: who reads what, what no stored byte shows, and how keys rotate."""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from city_platform.contracts.model import Classification, Column
from city_platform.errors import CityPlatformError
from city_platform.local.keys import LocalKeyService
from city_platform.ports import KeyDenied, KeyDisabled, KeyNotFound, KeyService, KeyServiceUnavailable, WrongKey
from city_platform.protection.classification import Unclassified, master_keys
from city_platform.protection.encryption import (
    KEY_MATERIAL_PREFIX,
    ROW_GROUP_ROWS,
    AmbiguousName,
    ColumnNotFound,
    DamagedFile,
    EncryptedFile,
    key_material_of,
    read_encrypted,
    rotate,
    write_encrypted,
)

DATASET, PARTITION = "licences", "2024"
INTERNAL, PERSONAL = master_keys(DATASET)
CANARY = "ZzCanary-7f3c"


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
    column("Street", Classification.PERSONAL),
]
TABLE = pa.table(
    {
        "Status": ["Issued", "Pending", None],
        "LicenceNumber": ["24-1", "24-2", "24-3"],
        "BusinessName": ["Ann", None, "Cy"],
        "Street": ["Main St", "Oak St", "Elm St"],
        "_row": pa.array([0, 1, 2], pa.int64()),
    }
)


@dataclass
class Recording:
    """A key service that counts, and refuses what it is told to refuse."""

    service: KeyService
    refused: dict[str, type[CityPlatformError]] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)

    def encrypt(self, key: str, plaintext: bytes, context: Mapping[str, str]) -> bytes:
        self._take("encrypt", key)
        return self.service.encrypt(key, plaintext, context)

    def decrypt(self, key: str, ciphertext: bytes, context: Mapping[str, str]) -> bytes:
        self._take("decrypt", key)
        return self.service.decrypt(key, ciphertext, context)

    def _take(self, call: str, key: str) -> None:
        self.calls.append((call, key))
        if key in self.refused:
            raise self.refused[key](f"{key} is refused")


@pytest.fixture
def local(tmp_path: Path) -> LocalKeyService:
    service = LocalKeyService(tmp_path / "keys" / "keys.json")
    for key in master_keys(DATASET):
        service.create(key)
    return service


@pytest.fixture
def keys(local: LocalKeyService) -> Recording:
    return Recording(local)


def write(keys: KeyService, file: Path, table: pa.Table = TABLE, columns: list[Column] = COLUMNS) -> EncryptedFile:
    return write_encrypted(table.to_reader(), file, dataset=DATASET, partition=PARTITION, columns=columns, keys=keys)


def read(keys: KeyService, *files: Path, columns: list[str] | None = None, partition: str = PARTITION) -> pa.Table:
    return read_encrypted(files, dataset=DATASET, partition=partition, keys=keys, columns=columns).read_all()


@pytest.fixture
def file(tmp_path: Path, keys: Recording) -> Path:
    file = tmp_path / "part-00000.parquet"
    write(keys, file)
    keys.calls.clear()
    return file


def test_all_rows_come_back_to_who_holds_both_keys(tmp_path: Path, keys: Recording) -> None:
    file = tmp_path / "part-00000.parquet"
    written = write(keys, file)
    assert written == EncryptedFile(
        rows=3,
        files=[file, tmp_path / "_KEY_MATERIAL_FOR_part-00000.parquet.json"],
        keys={"LicenceNumber": INTERNAL, "BusinessName": PERSONAL, "Street": PERSONAL, "_row": INTERNAL},
    )
    assert read(keys, *written.files) == TABLE
    assert {path.stat().st_mode & 0o777 for path in written.files} == {0o600}


def test_columns_come_in_the_order_asked_for(keys: Recording, file: Path) -> None:
    assert read(keys, file, columns=["Street", "Status", "Street"]) == TABLE.select(["Street", "Status"])


def test_several_files_come_in_order(tmp_path: Path, keys: Recording, file: Path) -> None:
    second = tmp_path / "part-00001.parquet"
    write(keys, second, TABLE.slice(1))
    assert read(keys, file, second) == pa.concat_tables([TABLE, TABLE.slice(1)])


def test_an_empty_partition_is_a_file_with_its_schema(tmp_path: Path, keys: Recording) -> None:
    written = write(keys, tmp_path / "empty.parquet", TABLE.slice(0, 0))
    assert written.rows == 0
    assert read(keys, *written.files).schema == TABLE.schema


@pytest.mark.parametrize("order", ["lowest", "highest", "only", "null beside"])
def test_no_stored_byte_shows_a_personal_value(tmp_path: Path, keys: Recording, order: str) -> None:
    around: dict[str, list[str | None]] = {
        "lowest": ["~a", "~b"],
        "highest": ["A", "B"],
        "only": [CANARY, CANARY],
        "null beside": [None, None],
    }
    names: list[str | None] = [CANARY, *around[order]]
    nested = [[name] for name in names]
    table = pa.table(
        {"Status": ["x"] * 3, "BusinessName": names, "Street": nested, "LicenceNumber": names}
    ).replace_schema_metadata({"note": CANARY})
    written = write(keys, tmp_path / "part.parquet", table)
    for path in written.files:
        data = path.read_bytes()
        assert CANARY.encode() not in data
        assert CANARY[2:].encode() not in data
    assert {path.name for path in tmp_path.iterdir()} == {"keys", *(path.name for path in written.files)}
    assert read(keys, *written.files).column("Street").to_pylist() == nested


def test_the_canary_test_can_fail(tmp_path: Path, keys: Recording) -> None:
    public = [column(name, Classification.PUBLIC) for name in ("BusinessName",)]
    written = write(keys, tmp_path / "part.parquet", pa.table({"BusinessName": [CANARY]}), public)
    assert CANARY.encode() in written.files[0].read_bytes()


def test_a_dataset_with_public_columns_alone_needs_no_key(tmp_path: Path, keys: Recording) -> None:
    public = [column("Status", Classification.PUBLIC)]
    written = write(keys, tmp_path / "part.parquet", TABLE.select(["Status"]), public)
    assert (written.files, written.keys) == ([tmp_path / "part.parquet"], {})
    assert read(keys, *written.files) == TABLE.select(["Status"])
    assert keys.calls == []


def test_duckdb_reads_the_public_columns_without_a_key(file: Path) -> None:
    with duckdb.connect() as connection:
        rows = connection.execute(f"SELECT Status FROM read_parquet('{file}')").fetchall()
        assert rows == [("Issued",), ("Pending",), (None,)]
        with pytest.raises(duckdb.Error):
            connection.execute(f"SELECT BusinessName FROM read_parquet('{file}')").fetchall()


def test_duckdb_queries_protected_columns_through_the_reader(keys: Recording, file: Path) -> None:
    rows = read_encrypted([file], dataset=DATASET, partition=PARTITION, keys=keys)
    with duckdb.connect() as connection:
        connection.register("trusted", rows)
        found = connection.execute("SELECT BusinessName FROM trusted WHERE Status = 'Issued'").fetchall()
    assert found == [("Ann",)]


@pytest.mark.parametrize("kind", [KeyDenied, KeyDisabled, KeyNotFound, WrongKey, KeyServiceUnavailable])
@pytest.mark.parametrize("asked", [["BusinessName", "Status", "Street"], None])
def test_without_the_personal_key_its_columns_are_named_and_the_others_stay_readable(
    keys: Recording, file: Path, kind: type[CityPlatformError], asked: list[str] | None
) -> None:
    keys.refused[PERSONAL] = kind
    with pytest.raises(
        kind,
        match=rf"{PERSONAL} \(columns BusinessName, Street\): .* is refused\. "
        "Columns that remain readable: Status, LicenceNumber, _row$",
    ):
        # At once, not when the rows are fetched.
        read_encrypted([file], dataset=DATASET, partition=PARTITION, keys=keys, columns=asked)
    others = ["Status", "LicenceNumber", "_row"]
    assert read(keys, file, columns=others) == TABLE.select(others)


def test_without_the_internal_key_the_public_columns_stay_readable(keys: Recording, file: Path) -> None:
    keys.refused[INTERNAL] = KeyDenied
    with pytest.raises(KeyDenied, match=rf"{INTERNAL} \(it signs the footer\).*remain readable: Status$"):
        read(keys, file, columns=["BusinessName"])
    assert read(keys, file, columns=["Status"]) == TABLE.select(["Status"])


def test_a_disabled_local_key_is_a_disabled_key(local: LocalKeyService, file: Path) -> None:
    local.disable(PERSONAL)
    with pytest.raises(KeyDisabled, match="Street"):
        read(local, file, columns=["Street"])
    local.enable(PERSONAL)
    assert read(local, file) == TABLE


def test_keys_of_another_service_are_wrong(tmp_path: Path, file: Path) -> None:
    other = LocalKeyService(tmp_path / "other" / "keys.json")
    for key in master_keys(DATASET):
        other.create(key)
    with pytest.raises(WrongKey, match="LicenceNumber"):
        read(other, file, columns=["Street", "LicenceNumber"])


def test_a_file_carried_into_another_partition_does_not_open(keys: Recording, file: Path) -> None:
    with pytest.raises(WrongKey):
        read(keys, file, partition="2023")


def test_public_columns_ask_for_no_key_and_internal_ones_only_for_theirs(keys: Recording, file: Path) -> None:
    read(keys, file, columns=["Status"])
    assert keys.calls == []
    read(keys, file, columns=["Status", "LicenceNumber"])
    assert set(keys.calls) == {("decrypt", INTERNAL)}


def test_each_data_key_is_unwrapped_once_a_read(keys: Recording, file: Path) -> None:
    read(keys, file)
    assert sorted(keys.calls) == [("decrypt", INTERNAL)] * 3 + [("decrypt", PERSONAL)] * 2


def test_data_keys_have_256_bits(tmp_path: Path, local: LocalKeyService) -> None:
    lengths = []

    class Measuring(Recording):
        def encrypt(self, key: str, plaintext: bytes, context: Mapping[str, str]) -> bytes:
            lengths.append(len(plaintext))
            return super().encrypt(key, plaintext, context)

    write(Measuring(local), tmp_path / "part.parquet")
    assert lengths == [32] * 5


@pytest.mark.parametrize("refused", [INTERNAL, PERSONAL])
def test_a_refused_key_stops_the_writing_before_a_row_is_read(tmp_path: Path, keys: Recording, refused: str) -> None:
    keys.refused[refused] = KeyDisabled

    read_from = []

    def batches() -> Iterator[pa.RecordBatch]:
        read_from.append(TABLE)
        yield from TABLE.to_batches()

    reader = pa.RecordBatchReader.from_batches(TABLE.schema, batches())
    with pytest.raises(KeyDisabled, match=f"cannot encrypt licences 2024: {refused}"):
        write_encrypted(
            reader, tmp_path / "p.parquet", dataset=DATASET, partition=PARTITION, columns=COLUMNS, keys=keys
        )
    assert read_from == []


def test_unclassified_columns_are_not_written(tmp_path: Path, keys: Recording) -> None:
    with pytest.raises(Unclassified, match="Phone"):
        write(keys, tmp_path / "part.parquet", TABLE.append_column("Phone", TABLE["Street"]))
    assert not (tmp_path / "part.parquet").exists()


@pytest.mark.parametrize("name", ["a,b", "a:b", "a;b", " a", "a "])
def test_a_name_that_pyarrow_would_split_is_refused(tmp_path: Path, keys: Recording, name: str) -> None:
    with pytest.raises(AmbiguousName, match=name):
        write(keys, tmp_path / "p.parquet", pa.table({name: ["x"]}), [column(name, Classification.PERSONAL)])


def test_unknown_columns_are_named_with_those_there_are(keys: Recording, file: Path) -> None:
    with pytest.raises(ColumnNotFound, match="no column Phone, Email; it has Status, LicenceNumber"):
        read(keys, file, columns=["Phone", "Status", "Email"])


def test_every_change_of_a_protected_byte_is_noticed(keys: Recording, file: Path) -> None:
    data = file.read_bytes()
    public_end = pq.ParquetFile(file).metadata.row_group(0).column(0).total_compressed_size + 4
    for position in range(public_end, len(data), 7):
        changed = bytearray(data)
        changed[position] ^= 0x20
        file.write_bytes(changed)
        with pytest.raises((DamagedFile, ColumnNotFound)):
            read(keys, file, columns=["LicenceNumber", "BusinessName", "Street", "_row"])


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff\xfe"])
def test_damaged_key_material_is_a_damaged_file(keys: Recording, file: Path, content: bytes) -> None:
    key_material_of(file).write_bytes(content)
    with pytest.raises(DamagedFile, match=r"part-00000\.parquet"):
        read(keys, file)


def test_changed_key_material_is_a_wrong_key(keys: Recording, file: Path) -> None:
    material = json.loads(key_material_of(file).read_text())
    for name, entry in material.items():
        inner = json.loads(entry)
        inner["wrappedDEK"] = "no base64 at all!" if name == "footerKey" else inner["wrappedDEK"]
        material[name] = json.dumps(inner)
    key_material_of(file).write_text(json.dumps(material))
    with pytest.raises(WrongKey, match=INTERNAL):
        read(keys, file)


def test_missing_files_are_damage_that_says_which(keys: Recording, file: Path) -> None:
    key_material_of(file).unlink()
    with pytest.raises(DamagedFile, match=r"_KEY_MATERIAL_FOR_part-00000\.parquet\.json is missing"):
        read(keys, file)
    assert read(keys, file, columns=["Status"]) == TABLE.select(["Status"])
    file.unlink()
    with pytest.raises(DamagedFile, match=r"part-00000\.parquet"):
        read(keys, file)
    with pytest.raises(DamagedFile, match="no encrypted file"):
        read(keys)


def test_rotation_renews_the_wrapping_and_leaves_the_data_alone(local: LocalKeyService, file: Path) -> None:
    data, material = file.read_bytes(), key_material_of(file).read_bytes()
    local.rotate(PERSONAL)
    local.rotate(INTERNAL)
    recording = Recording(local)
    assert rotate([file, key_material_of(file)], dataset=DATASET, partition=PARTITION, keys=recording) == [
        key_material_of(file)
    ]
    assert file.read_bytes() == data
    assert key_material_of(file).read_bytes() != material
    assert key_material_of(file).stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in file.parent.iterdir()) == [key_material_of(file).name, "keys", file.name]
    assert read(local, file) == TABLE
    # Every wrapped key now carries the second version of its master key.
    assert {call for call, _ in recording.calls} == {"encrypt", "decrypt"}
    sealed = [json.loads(entry)["wrappedDEK"] for entry in json.loads(key_material_of(file).read_text()).values()]
    assert {_version(one) for one in sealed} == {2}


def _version(wrapped: str) -> int:
    return int.from_bytes(base64.b64decode(wrapped)[17:21])


def test_a_rotation_that_fails_leaves_the_key_material(keys: Recording, file: Path) -> None:
    material = key_material_of(file).read_bytes()
    keys.refused[PERSONAL] = KeyDenied
    with pytest.raises(KeyDenied, match=f"cannot rotate the keys of licences 2024: {PERSONAL}"):
        rotate([file], dataset=DATASET, partition=PARTITION, keys=keys)
    assert key_material_of(file).read_bytes() == material
    assert sorted(path.name for path in file.parent.iterdir()) == [key_material_of(file).name, "keys", file.name]
    with pytest.raises(DamagedFile, match=f"{KEY_MATERIAL_PREFIX}none"):
        rotate([file.with_name("none.parquet")], dataset=DATASET, partition=PARTITION, keys=keys)


def test_rows_stream_through_in_bounded_memory(tmp_path: Path, keys: Recording) -> None:
    file = tmp_path / "large.parquet"
    groups = 8

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, groups * ROW_GROUP_ROWS, 50_000):
            rows = range(start, min(start + 50_000, groups * ROW_GROUP_ROWS))
            yield pa.record_batch({"BusinessName": [hashlib.sha256(b"%d" % row).hexdigest() for row in rows]})

    schema = pa.schema([("BusinessName", pa.string())])
    before = pa.total_allocated_bytes()
    pool = pa.default_memory_pool()
    personal = [column("BusinessName", Classification.PERSONAL)]
    written = write_encrypted(
        pa.RecordBatchReader.from_batches(schema, batches()),
        file,
        dataset=DATASET,
        partition=PARTITION,
        columns=personal,
        keys=keys,
    )
    assert written.rows == groups * ROW_GROUP_ROWS
    peak = before
    rows = 0
    for batch in read_encrypted([file], dataset=DATASET, partition=PARTITION, keys=keys):
        if rows == 0:
            assert batch["BusinessName"][0].as_py() == hashlib.sha256(b"0").hexdigest()
        rows += batch.num_rows
        peak = max(peak, pool.bytes_allocated())
    assert rows == written.rows
    metadata = pq.read_metadata(file)
    assert [metadata.row_group(number).num_rows for number in range(groups)] == [ROW_GROUP_ROWS] * groups
    # A row group holds 9 MB of names, 4.5 MB compressed; the eight of the file more than the limit.
    assert peak - before < 25 << 20
