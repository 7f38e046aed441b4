"""In which of the lake's four zones an object lies: on AWS each is a bucket with its own key, policy and retention.

A key's first folder decides, and the second one of a manifest, and of the note that its files were pruned: they lie
beside what they describe.
"""

from collections.abc import Mapping
from enum import StrEnum

from city_platform.errors import PermanentError

_BESIDE = ("manifests", "pruned")


class Zone(StrEnum):
    """`RAW` holds what came in, untouched; `TRANSFORM` rows on their way, failed ones too; `CURATED` what is published
    and what those entitled read; `CRAWLER` what is said of all that: catalog, verdicts, audit, wrapped keys.
    """

    RAW = "raw"
    TRANSFORM = "transform"
    CURATED = "curated"
    CRAWLER = "crawler"


_ZONES: Mapping[str, Zone] = {
    **dict.fromkeys(("raw", "landing", "fetched", "exports", "incidents"), Zone.RAW),
    **dict.fromkeys(("cleaned", "quality_checked", "rejected", "traffic"), Zone.TRANSFORM),
    **dict.fromkeys(("curated", "encrypted", "open_data"), Zone.CURATED),
    **dict.fromkeys(("questions", "statistics", "anomalies", "free_flow", "forecast"), Zone.CURATED),
    **dict.fromkeys(("advice", "agreement", "zone_hours"), Zone.CURATED),
    **dict.fromkeys(("catalog", "profile", "scorecard", "recipes", "protection"), Zone.CRAWLER),
    **dict.fromkeys(("evaluations", "notices", "audit", "audit-head.json"), Zone.CRAWLER),
}
FOLDERS = tuple(_ZONES)
PUBLIC_FOLDERS = frozenset({"curated", "open_data"})  # of whose objects a client may be given an address


class UnknownPlace(PermanentError):
    """Nobody decided which zone such a key belongs to, so nothing is written there."""


def zone_of(key: str) -> Zone:
    """The zone of an object; raises UnknownPlace."""
    first, _, below = key.partition("/")
    folder = below.partition("/")[0] if first in _BESIDE else first
    try:
        return _ZONES[folder]
    except KeyError:
        raise UnknownPlace(
            f"no zone of the lake is decided for {key!r}: name its folder {folder!r} in {__name__.replace('.', '/')}.py"
        ) from None


def zones_under(prefix: str) -> frozenset[Zone]:
    """The zones in which keys that start with `prefix` can lie."""
    first, slash, below = prefix.partition("/")
    if first in _BESIDE and slash:
        first, slash, _ = below.partition("/")
    elif not slash and any(name.startswith(first) for name in _BESIDE):
        return frozenset(Zone)
    return frozenset(zone for name, zone in _ZONES.items() if (name == first if slash else name.startswith(first)))
