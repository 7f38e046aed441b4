"""Where a dataset's rows come from: the `servers` of type `api`, each one dataset of an open data portal.

    servers:
      - server: 2013-2024
        type: api
        location: https://opendata.example.org/api/explore/v2.1/catalog/datasets/business-licences-2013-to-2024
        description: Licences of 2013 to 2024, no longer updated.
        customProperties:
          - {property: cadence, value: static}

A server called `exports`, of whatever type, says that another part of the platform writes the rows into the lake as
they come (see `layers.exported`). All others are the standard's business; nothing is fetched from them.
"""

import re
from collections.abc import Mapping

from city_platform.contracts.model import CADENCES, PortalSource
from city_platform.contracts.odcs import instead, shown
from city_platform.contracts.reader import SERVER_PROPERTIES, Reader
from city_platform.contracts.yaml_lines import Path

EXPORTS = "exports"
_DATASET_ADDRESS = re.compile(r"https?://[^\s/?#@]+/api/explore/v2\.1/catalog/datasets/[A-Za-z0-9_-]+")
_ADDRESS_REMEDY = "write https://HOST/api/explore/v2.1/catalog/datasets/ID, without anything behind the ID"
_CADENCE_REMEDY = f"add the custom property 'cadence': {', '.join(CADENCES)}"


def read_sources(reader: Reader) -> tuple[PortalSource, ...]:
    """The portal's datasets in the contract's order; what is wrong with them is reported."""
    servers = [(path, one) for path, one in reader.items(("servers",)) if one.get("type") == "api"]
    sources = [_source(reader, path, one) for path, one in servers]
    for wanted, what in (("server", "name"), ("location", "location")):
        seen: set[str] = set()
        for (path, _), source in zip(servers, sources, strict=True):
            value = getattr(source, wanted)
            if value and value in seen:
                problem = f"a second server with the {what} {shown(value)}"
                reader.report((*path, wanted), problem, "keep one of the two, or correct this one")
            seen.add(value)
    return tuple(sources)


def _source(reader: Reader, path: Path, server: Mapping[str, object]) -> PortalSource:
    location = server.get("location")
    if isinstance(location, str) and not _DATASET_ADDRESS.fullmatch(location):
        problem = f"{shown(location)} is not the address of a portal's dataset"
        reader.report((*path, "location"), problem, _ADDRESS_REMEDY)
    description = server.get("description")
    return PortalSource(
        server=reader.text((*path, "server"), "write a text", by_standard=True),
        location=location if isinstance(location, str) else "",
        cadence=_cadence(reader, path),
        description=" ".join(description.split()) if isinstance(description, str) else "",
    )


def _cadence(reader: Reader, path: Path) -> str:
    entry = reader.custom(path, SERVER_PROPERTIES).get("cadence")
    if entry is None:
        reader.report(path, "the server has no 'cadence'", _CADENCE_REMEDY)
        return ""
    if entry.value not in CADENCES:
        problem = f"a cadence of {shown(entry.value)} is not one the platform schedules"
        reader.report(entry.path, problem, instead(str(entry.value), CADENCES))
        return ""
    return str(entry.value)
