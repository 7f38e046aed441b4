"""Rows in Parquet Modular Encryption, columns protected by the keys their classification calls for.

A file's footer is plain text signed with the dataset's internal key: any Parquet reader takes the public columns
without a key. Each protected column has a data key of its own (256 bits, AES_GCM_V1), wrapped by the key service
under the column's master key and bound to dataset and partition: a file or a wrapped key carried into another
partition opens nowhere. Wrapped data keys lie outside the file in `_KEY_MATERIAL_FOR_<file>.json`, so `rotate` renews
the wrapping and leaves the data untouched. Data keys are wrapped one by one ("single wrapping"): Parquet's double
wrapping puts a 128-bit key in between.

What this does not do: public columns are not authenticated, and a plain file put in the place of an encrypted one is
read as what it is. The lake's manifests hold a digest of every file against that.

Format: https://github.com/apache/parquet-format/blob/master/Encryption.md
"""

import base64
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe

from city_platform.contracts.model import Classification, Column
from city_platform.engines.parquet import ordered_columns, repetitive_columns
from city_platform.errors import CityPlatformError, PermanentError
from city_platform.ports import KeyService, WrongKey
from city_platform.protection.classification import keys_of_columns, master_key

ROW_GROUP_ROWS = 131_072
KEY_MATERIAL_PREFIX = "_KEY_MATERIAL_FOR_"
_PROTECTION = b"city_platform.master_keys"  # in the footer: column name -> master key, as JSON


class ColumnNotFound(PermanentError):
    """The files have no column of that name."""


class AmbiguousName(PermanentError):
    """A protected column's name means something else where Parquet lists columns under keys."""


class DamagedFile(PermanentError):
    """An encrypted file or its key material is missing, cut short or was changed."""


@dataclass(frozen=True, slots=True)
class EncryptedFile:
    """What was written: the data file and, unless every column is public, its key material beside it."""

    rows: int
    files: Sequence[Path]
    keys: Mapping[str, str]  # master key by protected column


def key_material_of(file: Path) -> Path:
    """Where the wrapped data keys of an encrypted file lie."""
    return file.with_name(f"{KEY_MATERIAL_PREFIX}{file.name}.json")


def is_key_material(file: Path) -> bool:
    """Whether the file holds the wrapped data keys of another one."""
    return file.name.startswith(KEY_MATERIAL_PREFIX)


def write_encrypted(
    reader: pa.RecordBatchReader,
    file: Path,
    *,
    dataset: str,
    partition: str,
    columns: Sequence[Column],
    keys: KeyService,
    compression: str = "zstd",
) -> EncryptedFile:
    """Writes all rows into one file, in order, mode 0600, holding one row group (131,072 rows) in memory.

    Raises Unclassified for a column the contract does not list, and the key service's errors before any row is
    read. After an error the half-written file stays for the caller, whose folder it is, to discard.
    """
    schema = reader.schema.remove_metadata()
    protected = keys_of_columns(dataset, columns, schema.names)
    _refuse_ambiguous(protected)
    file.touch(mode=0o600)
    files = [file]
    properties = None
    if protected:
        material = key_material_of(file)
        material.touch(mode=0o600)
        files.append(material)
        client = _Wrapping(keys, dataset, partition)
        with client.errors(f"cannot encrypt {dataset} {partition}", protected):
            properties = client.factory.file_encryption_properties(
                pe.KmsConnectionConfig(),
                pe.EncryptionConfiguration(
                    footer_key=client.footer_key,
                    column_keys=_by_key(protected),
                    encryption_algorithm="AES_GCM_V1",
                    plaintext_footer=True,
                    double_wrapping=False,
                    internal_key_material=False,
                    data_key_length_bits=256,
                ),
                file,
            )
    rows = 0
    tables = _row_groups(reader, schema)
    first = next(tables, schema.empty_table())
    with pq.ParquetWriter(
        file,
        schema.with_metadata({_PROTECTION: json.dumps(protected).encode()}),
        compression=compression,
        compression_level=1 if compression == "zstd" else None,
        use_dictionary=repetitive_columns(first) or False,
        dictionary_pagesize_limit=256 * 1024,
        write_statistics=ordered_columns(schema),
        data_page_version="2.0",
        encryption_properties=properties,
    ) as writer:
        for table in chain([first], tables):
            writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
            rows += table.num_rows
    return EncryptedFile(rows, files, protected)


def read_encrypted(
    files: Iterable[Path],
    *,
    dataset: str,
    partition: str,
    keys: KeyService,
    columns: Sequence[str] | None = None,
    batch_rows: int = 65_536,
) -> pa.RecordBatchReader:
    """The rows of a partition's files, in order, streamed; `columns` in the order asked for, None for all.

    A file's key material is the one among `files` that is named for it, of several the one beside it; without one, what
    lies beside the file. Only keys that the asked columns need are used; a protected column also needs the internal
    key, which signs the footer.

    A key that cannot be used raises the key service's error (KeyDenied, KeyDisabled, WrongKey, …) at once, naming
    the columns it stands for and the columns that remain readable. Asking for all columns is no exception: rows
    that silently lack columns are worse than an error. Raises ColumnNotFound and DamagedFile too, the latter also
    while streaming.
    """
    given = list(files)
    data = [file for file in given if not is_key_material(file)]
    if not data:
        raise DamagedFile(f"{dataset} {partition}: no encrypted file was given")
    client = _Wrapping(keys, dataset, partition)
    footers = [_Footer.of(file, _material_for(file, given)) for file in data]
    schema = footers[0].schema
    wanted = list(dict.fromkeys(schema.names if columns is None else columns))
    if missing := [name for footer in footers for name in wanted if name not in footer.schema.names]:
        raise ColumnNotFound(
            f"{dataset} {partition} has no column {', '.join(dict.fromkeys(missing))}; it has {', '.join(schema.names)}"
        )
    for footer in footers:
        _try_keys(footer, wanted, client)
    fields = pa.schema([schema.field(name) for name in wanted])
    return pa.RecordBatchReader.from_batches(fields, _batches(footers, wanted, client, batch_rows))


def rotate(files: Iterable[Path], *, dataset: str, partition: str, keys: KeyService) -> Sequence[Path]:
    """Wraps the data keys anew, under the current versions of the master keys; returns the key material rewritten.

    `files` are data files or their key material; the data files are not touched and need not be there. Each key
    material is replaced as a whole: whenever the process dies, the earlier or the renewed one is in place.
    """
    renewed = []
    for file in files:
        material = file if is_key_material(file) else key_material_of(file)
        if material in renewed:
            continue
        client = _Wrapping(keys, dataset, partition)
        with tempfile.TemporaryDirectory(dir=material.parent) as folder:
            # Parquet removes the old key material before the new one has its name: not where the only copy is.
            copy = Path(folder, material.name)
            with client.errors(f"cannot rotate the keys of {dataset} {partition}", {}), _missing_is_damage(material):
                shutil.copyfile(material, copy)
                client.factory.rotate_master_keys(
                    pe.KmsConnectionConfig(),
                    copy.with_name(material.name.removeprefix(KEY_MATERIAL_PREFIX).removesuffix(".json")),
                    double_wrapping=False,
                )
            copy.chmod(0o600)
            copy.replace(material)
        renewed.append(material)
    return renewed


def wrapped_keys(material: bytes) -> Iterator[tuple[str, bytes]]:
    """Master key and ciphertext of each data key in a file's key material. Raises DamagedFile."""
    try:
        for entry in json.loads(material).values():
            one = json.loads(entry)
            yield one["masterKeyID"], base64.b64decode(one["wrappedDEK"], validate=True)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedFile(f"the key material cannot be read, it is damaged or was changed: {error}") from error


class _Wrapping:
    """The way from Parquet's key management to the key service, for one read or one write.

    It remembers unwrapped keys, because Parquet asks several times a column and a key service may be a network
    away, and the error of every key refused, because an exception may come back from C++ as an OSError.
    """

    def __init__(self, keys: KeyService, dataset: str, partition: str) -> None:
        self._keys = keys
        self._context = {"dataset": dataset, "partition": partition, "purpose": "parquet-data-key"}
        self.footer_key = master_key(dataset, Classification.INTERNAL)
        self._unwrapped: dict[tuple[str, str], bytes] = {}
        self.refused: dict[str, CityPlatformError] = {}
        self.factory = pe.CryptoFactory(lambda _config: _KmsClient(self))

    def wrap(self, data_key: bytes, master: str) -> str:
        with self._noting(master):
            return base64.b64encode(self._keys.encrypt(master, data_key, self._context)).decode()

    def unwrap(self, wrapped: str, master: str) -> bytes:
        if (wrapped, master) not in self._unwrapped:
            with self._noting(master):
                try:
                    ciphertext = base64.b64decode(wrapped, validate=True)
                except ValueError:
                    raise WrongKey(f"what is stored as a key wrapped by {master} is none") from None
                self._unwrapped[wrapped, master] = self._keys.decrypt(master, ciphertext, self._context)
        return self._unwrapped[wrapped, master]

    @contextmanager
    def _noting(self, master: str) -> Iterator[None]:
        try:
            yield
        except CityPlatformError as error:
            self.refused[master] = error
            raise

    @contextmanager
    def errors(self, what: str, protected: Mapping[str, str]) -> Iterator[None]:
        """Raises the key service's own error, whatever C++ made of it, saying which columns it is about."""
        try:
            yield
        except (CityPlatformError, OSError, pa.ArrowException) as error:
            if not self.refused:
                raise
            raise self.refusal(what, protected) from error

    def refusal(self, what: str, protected: Mapping[str, str], ending: str = "") -> CityPlatformError:
        by_key = _by_key(protected)
        reasons = []
        for master, error in self.refused.items():
            stands_for = f"columns {', '.join(by_key[master])}" if master in by_key else "it signs the footer"
            reasons.append(f"{master} ({stands_for}): {error}")
        first = next(iter(self.refused.values()))
        return type(first)(f"{what}: {'; '.join(reasons)}{ending}")


class _KmsClient(pe.KmsClient):  # type: ignore[misc]  # pyarrow publishes no types
    def __init__(self, wrapping: _Wrapping) -> None:
        super().__init__()
        self._wrapping = wrapping

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> str:
        return self._wrapping.wrap(key_bytes, master_key_identifier)

    def unwrap_key(self, wrapped_key: str, master_key_identifier: str) -> bytes:
        return self._wrapping.unwrap(wrapped_key, master_key_identifier)


def _refuse_ambiguous(protected: Mapping[str, str]) -> None:
    """pyarrow passes column names on as one text, `key: column, column; …`."""
    if ambiguous := [name for name in protected if set(name) & set(",:;") or name != name.strip()]:
        raise AmbiguousName(
            f"columns {', '.join(map(repr, ambiguous))} cannot be encrypted: a protected column's name holds no "
            "comma, colon or semicolon and no space at its ends; rename them in contract.yaml"
        )


def _by_key(protected: Mapping[str, str]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for name, key in protected.items():
        grouped.setdefault(key, []).append(name)
    return grouped


def _row_groups(reader: pa.RecordBatchReader, schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows in tables of ROW_GROUP_ROWS, but for the last."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in reader:
        rest = batch.replace_schema_metadata(None)
        while rest.num_rows:
            piece = rest.slice(0, ROW_GROUP_ROWS - rows)
            waiting.append(piece)
            rows += piece.num_rows
            rest = rest.slice(piece.num_rows)
            if rows == ROW_GROUP_ROWS:
                yield pa.Table.from_batches(waiting, schema)
                waiting, rows = [], 0
    if waiting:
        yield pa.Table.from_batches(waiting, schema)


@dataclass(frozen=True, slots=True)
class _Footer:
    """What a file says of itself to anybody."""

    file: Path
    material: Path  # where its wrapped data keys are
    schema: pa.Schema
    keys: Mapping[str, str]  # master key by protected column

    @classmethod
    def of(cls, file: Path, material: Path) -> "_Footer":
        with _unreadable_is_damage(file):
            schema = pq.read_schema(file)
            return cls(file, material, schema, dict(json.loads((schema.metadata or {}).get(_PROTECTION, b"{}"))))

    def needed(self, wanted: Sequence[str]) -> dict[str, str]:
        return {name: key for name, key in self.keys.items() if name in wanted}


def _material_for(file: Path, given: Sequence[Path]) -> Path:
    beside = key_material_of(file)
    named = [one for one in given if one.name == beside.name]
    return beside if beside in named or not named else named[0]


def _open(footer: _Footer, protected: Mapping[str, str], client: _Wrapping) -> pq.ParquetFile:
    """The file, with keys only if some column needs them."""
    file = footer.file
    if not protected:
        return pq.ParquetFile(file, pre_buffer=False)
    with _missing_is_damage(footer.material):
        # Parquet takes the path of a file only to look for the key material beside it.
        properties = client.factory.file_decryption_properties(
            pe.KmsConnectionConfig(), pe.DecryptionConfiguration(), footer.material.with_name(file.name)
        )
        # Buffering ahead would hold all row groups of the file.
        return pq.ParquetFile(file, decryption_properties=properties, pre_buffer=False)


def _try_keys(footer: _Footer, wanted: Sequence[str], client: _Wrapping) -> None:
    """Reads a row of one column for each key, so that every refusal is known before the first row goes out."""
    needed = footer.needed(wanted)
    for names in _by_key(needed).values():
        try:
            with _unreadable_is_damage(footer.file), _open(footer, needed, client) as opened:
                next(opened.iter_batches(batch_size=1, columns=names[:1]), None)
        except CityPlatformError:
            if not client.refused:
                raise
    if client.refused:
        # Without the key that signs the footer no protected column opens.
        closed = set(footer.keys.values()) if client.footer_key in client.refused else client.refused.keys()
        readable = [name for name in footer.schema.names if footer.keys.get(name) not in closed]
        raise client.refusal(
            f"cannot read {footer.file.name}",
            needed,
            f". Columns that remain readable: {', '.join(readable) or 'none'}",
        )


def _batches(
    footers: Sequence[_Footer], wanted: Sequence[str], client: _Wrapping, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    for footer in footers:
        with _unreadable_is_damage(footer.file), _open(footer, footer.needed(wanted), client) as opened:
            for batch in opened.iter_batches(batch_rows, columns=wanted):
                yield batch.select(wanted).replace_schema_metadata(None)


@contextmanager
def _unreadable_is_damage(file: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowCancelled, MemoryError):
        raise
    except (OSError, pa.ArrowException, ValueError, TypeError) as error:
        raise DamagedFile(f"{file.name} cannot be read, it is damaged or was changed: {error}") from error


@contextmanager
def _missing_is_damage(material: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DamagedFile(
            f"{material.name} is missing beside its file: without it the protected columns cannot be read; restore it"
        ) from error
