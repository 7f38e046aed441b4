"""The catalog for machines: DCAT-US 3 (`data.json`), and DCAT-AP 3 as JSON-LD.

Read as resources.data.gov/standards/catalog/dcat-us-3 and semiceu.github.io/DCAT-AP have them.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from city_platform.api.open_data import prov
from city_platform.api.open_data.shelf import PublicDataset, PublicFile
from city_platform.incidents.codec import rfc3339
from city_platform.incidents.reference import City

_EU = "http://publications.europa.eu/resource/authority/"
_IANA = "https://www.iana.org/assignments/media-types/"
_FREQUENCIES: Mapping[str, tuple[str, str]] = {  # of contracts: in DCAT-US, in the EU's frequency list
    "hourly": ("continual", "HOURLY"),
    "daily": ("daily", "DAILY"),
    "weekly": ("weekly", "WEEKLY"),
    "monthly": ("monthly", "MONTHLY"),
    "quarterly": ("quarterly", "QUARTERLY"),
    "annual": ("annual", "ANNUAL"),
    "static": ("notPlanned", "NEVER"),
}


def dcat_us(city: City, datasets: Iterable[PublicDataset], base: str) -> Mapping[str, Any]:
    """`base` is the address of the open data, without a slash at its end."""
    found = list(datasets)
    return {
        "@id": f"{base}/data.json",
        "@type": "Catalog",
        "conformsTo": {
            "@type": "Standard",
            "title": "DCAT-US 3.0",
            "identifier": "https://resources.data.gov/dcat-us/3.0.0",
        },
        "title": f"Open data of {city.name}",
        "description": f"What {city.name} publishes for everybody, as files to download.",
        "publisher": {"@type": "Organization", "name": city.name},
        "language": ["en"],
        **_dated(_newest(found)),
        "dataset": [_us_dataset(city, one, base) for one in found],
    }


def _us_dataset(city: City, dataset: PublicDataset, base: str) -> Mapping[str, Any]:
    return {
        "@type": "Dataset",
        "identifier": f"{base}/{dataset.name}",
        "title": dataset.title,
        "description": dataset.description,
        "keyword": list(dataset.keywords),
        "publisher": {"@type": "Organization", "name": city.name},
        "contactPoint": {"@type": "Kind", "fn": f"Open data of {city.name}", "hasEmail": f"mailto:{city.contact}"},
        "accessRights": "public",
        "rights": [f"{dataset.licence.name}: {dataset.licence.url}"],
        "accrualPeriodicity": _FREQUENCIES[dataset.cadence][0],
        "spatial": {"@type": "Location", "prefLabel": city.name, "bbox": _polygon(city)},
        **_dated(dataset.modified),
        "distribution": [_us_distribution(dataset, file, base) for file in dataset.files],
    }


def _us_distribution(dataset: PublicDataset, file: PublicFile, base: str) -> Mapping[str, Any]:
    return {
        "@type": "Distribution",
        "title": f"{dataset.title}, {file.partition}, {file.format.label}",
        "description": f"{file.rows} rows",
        "downloadURL": f"{base}/{dataset.name}/{file.name}",
        "mediaType": file.format.media_type,
        "format": file.format.label,
        "byteSize": str(file.bytes),
        "license": dataset.licence.url,
        "modified": rfc3339(file.modified),
        "checksum": {"@type": "Checksum", "algorithm": "SHA-256", "checksumValue": file.sha256},
    }


def dcat_ap(city: City, datasets: Iterable[PublicDataset], base: str) -> Mapping[str, Any]:
    """One JSON-LD graph of the same content; `base` as above."""
    found = list(datasets)
    publisher = {"@id": f"{base}#publisher", "@type": "foaf:Agent", "foaf:name": city.name}
    return {
        "@context": _CONTEXT,
        "@id": f"{base}/catalog.jsonld",
        "@type": "dcat:Catalog",
        "dct:title": f"Open data of {city.name}",
        "dct:description": f"What {city.name} publishes for everybody, as files to download.",
        "dct:publisher": publisher,
        "dct:language": {"@id": f"{_EU}language/ENG"},
        **_ap_dated(_newest(found)),
        "dcat:dataset": [_ap_dataset(city, one, base) for one in found],
    }


def _ap_dataset(city: City, dataset: PublicDataset, base: str) -> Mapping[str, Any]:
    contact = {
        "@type": "vcard:Organization",
        "vcard:fn": f"Open data of {city.name}",
        "vcard:hasEmail": {"@id": f"mailto:{city.contact}"},
    }
    return {
        "@id": f"{base}/{dataset.name}",
        "@type": "dcat:Dataset",
        "dct:identifier": dataset.name,
        "dct:title": dataset.title,
        "dct:description": dataset.description,
        "dcat:keyword": list(dataset.keywords),
        "dct:publisher": {"@id": f"{base}#publisher"},
        "dcat:contactPoint": contact,
        "dct:accessRights": {"@id": f"{_EU}access-right/PUBLIC", "@type": "dct:RightsStatement"},
        "dct:accrualPeriodicity": {"@id": f"{_EU}frequency/{_FREQUENCIES[dataset.cadence][1]}"},
        **_ap_dated(dataset.modified),
        "dcat:distribution": [_ap_distribution(dataset, file, base) for file in dataset.files],
    }


def _ap_distribution(dataset: PublicDataset, file: PublicFile, base: str) -> Mapping[str, Any]:
    address = {"@id": f"{base}/{dataset.name}/{file.name}"}
    return {
        "@id": f"{base}/{dataset.name}/{file.name}#distribution",
        "@type": "dcat:Distribution",
        "dct:title": f"{dataset.title}, {file.partition}, {file.format.label}",
        "dcat:accessURL": address,
        "dcat:downloadURL": address,
        "dcat:mediaType": {"@id": f"{_IANA}{file.format.media_type}"},
        "dct:format": {"@id": f"{_EU}file-type/{file.format.authority}"},
        "dcat:byteSize": {"@value": str(file.bytes), "@type": "xsd:nonNegativeInteger"},
        "dct:license": {"@id": dataset.licence.url, "@type": "dct:LicenseDocument", "dct:title": dataset.licence.name},
        **_ap_dated(file.modified),
        "prov:has_provenance": {"@id": prov.address(base, dataset.name, file.stem)},
        "spdx:checksum": {
            "@type": "spdx:Checksum",
            "spdx:algorithm": {"@id": "spdx:checksumAlgorithm_sha256"},
            "spdx:checksumValue": {"@value": file.sha256, "@type": "xsd:hexBinary"},
        },
    }


_CONTEXT = {
    "dcat": "http://www.w3.org/ns/dcat#",
    "dct": "http://purl.org/dc/terms/",
    "foaf": "http://xmlns.com/foaf/0.1/",
    "prov": "http://www.w3.org/ns/prov#",
    "spdx": "http://spdx.org/rdf/terms#",
    "vcard": "http://www.w3.org/2006/vcard/ns#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}


def _newest(datasets: Sequence[PublicDataset]) -> datetime | None:
    return max((one.modified for one in datasets if one.modified), default=None)


def _dated(modified: datetime | None) -> Mapping[str, Any]:
    return {"modified": rfc3339(modified)} if modified else {}


def _ap_dated(modified: datetime | None) -> Mapping[str, Any]:
    return {"dct:modified": {"@value": rfc3339(modified), "@type": "xsd:dateTime"}} if modified else {}


def _polygon(city: City) -> Mapping[str, Any]:
    """The city's bounds as GeoJSON: longitude first, counter-clockwise, closed."""
    box = city.bounds
    corners = [(box.west, box.south), (box.east, box.south), (box.east, box.north), (box.west, box.north)]
    return {"type": "Polygon", "coordinates": [[list(one) for one in (*corners, corners[0])]]}
