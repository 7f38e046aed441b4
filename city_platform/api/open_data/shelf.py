"""What there is to download: the newest published files of incidents and of the datasets tagged `open-data`."""

import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from city_platform.incidents.reference import Licence, Reference
from city_platform.lake.lake import Lake
from city_platform.lake.manifest import Manifest
from city_platform.layers import CURATED, open_incidents
from city_platform.layers.origins import CHECKED, Origin, at_the_time

if TYPE_CHECKING:
    from city_platform.datasets import Dataset

TAG = "open-data"  # without it in its contract a dataset's summaries stay inside
LICENCE_URL = "licenceUrl"  # a property of the contract
_MEMORY = 30.0  # seconds that the manifests are not read again


@dataclass(frozen=True, slots=True)
class FileFormat:
    """A format's name, its media type, and its names in the vocabularies of DCAT-AP."""

    name: str
    label: str
    media_type: str
    authority: str  # in the file type list of the Publications Office of the EU


FORMATS: Mapping[str, FileFormat] = {
    one.name: one
    for one in (
        FileFormat("csv", "CSV", "text/csv", "CSV"),
        FileFormat("geojson", "GeoJSON", "application/geo+json", "GEOJSON"),
        FileFormat("parquet", "Parquet", "application/vnd.apache.parquet", "PARQUET"),
    )
}


@dataclass(frozen=True, slots=True)
class PublicFile:
    """One file: its name below its dataset, where it lies in the store, and since when it is as it is."""

    name: str
    stem: str  # the name that its partition has in addresses
    partition: str
    format: FileFormat
    key: str
    bytes: int
    sha256: str
    rows: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class PublicDataset:
    """One dataset of the catalog. `cadence` is how often its source changes, as contracts say it."""

    name: str
    title: str
    description: str
    keywords: tuple[str, ...]
    licence: Licence
    cadence: str
    files: tuple[PublicFile, ...]

    @property
    def modified(self) -> datetime | None:
        return max((file.modified for file in self.files), default=None)


@dataclass(slots=True)
class Shelf:
    """Reads the lake's manifests, at most once in half a minute. Safe between threads."""

    lake: Lake
    datasets: "Sequence[Dataset]"
    reference: Reference
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _read: tuple[float, Mapping[str, PublicDataset]] | None = None

    def all(self) -> Mapping[str, PublicDataset]:
        """By name: incidents first, and the datasets of which something is published. Raises the store's errors."""
        with self._lock:
            if self._read is None or time.monotonic() > self._read[0]:
                self._read = (time.monotonic() + _MEMORY, {one.name: one for one in self._datasets()})
            return self._read[1]

    def file(self, dataset: str, name: str) -> PublicFile | None:
        found = self.all().get(dataset)
        return next((one for one in found.files if one.name == name), None) if found else None

    def origin(self, dataset: str, stem: str) -> tuple[PublicDataset, Manifest, Origin | None] | None:
        """A partition's newest published version, and where it comes from; of incidents only the version is known.

        Raises NotMade where the lake has lost a manifest behind it, and the store's errors.
        """
        found = self.all().get(dataset)
        file = next((one for one in found.files if one.stem == stem), None) if found else None
        if found is None or file is None:
            return None
        layer = open_incidents.LAYER if dataset == open_incidents.DATASET else CURATED
        published = self.lake.require(layer, dataset, file.partition)
        if published.published_at != file.modified:  # published since the list was read
            self.forget()
            found = self.all()[dataset]
        behind = CHECKED in published.inputs
        return found, published, Origin.of(self.lake, at_the_time(self.lake, published, CHECKED)) if behind else None

    def forget(self) -> None:
        """Reads again at the next question: something was published."""
        with self._lock:
            self._read = None

    def _datasets(self) -> Sequence[PublicDataset]:
        summaries = (self._curated(one) for one in self.datasets if _is_public(one))
        return [self._incidents(), *(one for one in summaries if one.files)]

    def _incidents(self) -> PublicDataset:
        city = self.reference.city
        return PublicDataset(
            name=open_incidents.DATASET,
            title=f"Incidents reported to {city.name}",
            description=(
                f"What people reported to {city.name}, what became of it, and where: a row each, in the columns of "
                "Open311's bulk format and some more. Places of sensitive categories are rounded to about 100 m and "
                "their texts left out; e-mail addresses and phone numbers are masked."
            ),
            keywords=("311", "Open311", "service requests", "incidents"),
            licence=city.licence,
            cadence="daily",
            files=self._files(open_incidents.LAYER, open_incidents.DATASET),
        )

    def _curated(self, dataset: "Dataset") -> PublicDataset:
        contract = dataset.contract
        url = contract.extra.get(LICENCE_URL, self.reference.city.licence.url)
        return PublicDataset(
            name=dataset.name,
            title=contract.title,
            description=contract.purpose,
            keywords=contract.tags,
            licence=Licence(name=contract.licence, url=url),
            cadence=contract.cadence,
            files=self._files(CURATED, dataset.name),
        )

    def _files(self, layer: str, dataset: str) -> tuple[PublicFile, ...]:
        newest = (self.lake.latest(layer, dataset, one) for one in reversed(self.lake.partitions(layer, dataset)))
        return tuple(file for manifest in newest if manifest for file in _files_of(manifest))


def _is_public(dataset: "Dataset") -> bool:
    # Incidents are published row by row from their store; the summaries of their exports count reporters, too.
    return TAG in dataset.contract.tags and dataset.name != open_incidents.DATASET


def _files_of(manifest: Manifest) -> Sequence[PublicFile]:
    found = []
    for name, shown in FORMATS.items():
        files = manifest.parts.get(name, ())
        for number, file in enumerate(files, 1):
            suffix = f"-{number}" if len(files) > 1 else ""
            stem = re.sub(r"[^A-Za-z0-9-]+", "-", manifest.partition)
            found.append(
                PublicFile(
                    name=f"{stem}{suffix}.{name}",
                    stem=stem,
                    partition=manifest.partition,
                    format=shown,
                    key=file.key,
                    bytes=file.bytes,
                    sha256=file.sha256,
                    rows=file.rows,
                    modified=manifest.published_at,
                )
            )
    return found
