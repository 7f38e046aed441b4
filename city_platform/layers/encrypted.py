"""Encrypted: the trusted rows for those entitled, in Parquet Modular Encryption with a key a classification."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from city_platform.datasets import Dataset
from city_platform.lake.lake import StagedFile
from city_platform.lake.manifest import Manifest
from city_platform.lake.pruning import KEY_IDS
from city_platform.lake.sink import workspace
from city_platform.layers import quality_checked
from city_platform.layers.gated import PASSED, trusted
from city_platform.layers.platform import Platform
from city_platform.protection.classification import master_keys
from city_platform.protection.encryption import read_encrypted, write_encrypted

LAYER = "encrypted"
REVISION = "1"  # raise it when this module starts to write other rows from the same inputs


def inputs(platform: Platform, dataset: Dataset, partition: str) -> Mapping[str, str] | None:
    """Trusted version and contract; None while nothing is checked."""
    checked = platform.lake.latest(quality_checked.LAYER, dataset.name, partition)
    return _inputs(checked, dataset) if checked else None


def _inputs(checked: Manifest, dataset: Dataset) -> Mapping[str, str]:
    return {quality_checked.LAYER: checked.version, "contract": dataset.contract_hash, "revision": REVISION}


def materialize(platform: Platform, dataset: Dataset, partition: str) -> Manifest:
    """Writes the trusted rows encrypted; raises GateClosed unless they passed, and the key service's errors."""
    lake, contract = platform.lake, dataset.contract
    with workspace(lake) as folder, platform.engine.session() as session:
        checked = trusted(platform, dataset, partition, session)
        for key in master_keys(dataset.name):
            platform.keys.ensure(key)
        # Before anything is wrapped: should a key be rotated meanwhile, this version says the older id, and is renewed.
        ids = {key: platform.keys.current(key) for key in master_keys(dataset.name)}
        names = ", ".join(session.dialect.name(column.name) for column in contract.columns)
        sealed = write_encrypted(
            session.stream(f"SELECT {names} FROM {PASSED}"),
            folder / "part-00000.parquet",
            dataset=dataset.name,
            partition=partition,
            columns=contract.columns,
            keys=platform.keys,
        )
        data, *material = sealed.files
        return lake.publish(
            LAYER,
            dataset.name,
            partition,
            inputs=_inputs(checked, dataset),
            # Readers look for the wrapped keys among the files, so both are one part.
            parts={"rows": [StagedFile.of(data, sealed.rows), *(StagedFile.of(file, 0) for file in material)]},
            counts={"rows": sealed.rows},
            schema=[(column.name, column.sql_type) for column in contract.columns],
            details={"keys": dict(sealed.keys), KEY_IDS: ids if sealed.keys else {}},
        )


def key_ids(manifest: Manifest) -> Mapping[str, str]:
    """What a version's data keys are wrapped under, by the names that people are shown: version or ARN of each key."""
    return {f"key id/{key}": one for key, one in manifest.details.get(KEY_IDS, {}).items()}


def read(
    platform: Platform, dataset: Dataset, partition: str, columns: Sequence[str] | None = None
) -> pa.RecordBatchReader:
    """The partition's rows for whoever may use the keys; see `protection.encryption.read_encrypted` for errors."""
    manifest = platform.lake.require(LAYER, dataset.name, partition)
    return read_encrypted(
        platform.lake.paths(manifest, "rows"),
        dataset=dataset.name,
        partition=partition,
        keys=platform.keys,
        columns=columns,
    )
