"""What one published version of one partition consists of.

S3 has neither directories nor rename, so a partition becomes visible by one small object: its manifest, put last.
Readers follow the newest manifest; files that no manifest names do not exist for them.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from city_platform.errors import PermanentError
from city_platform.readable import readable, shallow

FORMAT = 1


class UnreadableManifest(PermanentError):
    """A manifest object is not what this version of the platform writes."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One immutable file of a version. `bytes` is its size, `rows` its number of records."""

    key: str
    bytes: int
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """One version of one partition of one layer.

    `version` is derived from the files' content: equal content, equal version. `inputs` names what it was made
    from (upstream versions and definition hashes), so that staleness is a comparison. `parts` groups the files
    (`passed` and `failed`, `parquet` and `csv`). `preview` holds a few rows without personal columns.
    """

    layer: str
    dataset: str
    partition: str
    sequence: int
    version: str
    inputs: Mapping[str, str]
    parts: Mapping[str, Sequence[StoredFile]]
    counts: Mapping[str, int]
    schema: Sequence[tuple[str, str]]
    published_at: datetime
    preview: Sequence[Mapping[str, Any]] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def files(self) -> Sequence[StoredFile]:
        return [file for part in self.parts.values() for file in part]

    @property
    def size(self) -> int:
        return sum(file.bytes for file in self.files)

    @property
    def sha256(self) -> str:
        """One digest over the digests of all files, in the manifest's order."""
        return hashlib.sha256("".join(file.sha256 for file in self.files).encode()).hexdigest()

    def to_json(self) -> bytes:
        body = shallow(self) | {"format": FORMAT, "published_at": self.published_at.isoformat()}
        return readable(body, indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "Manifest":
        try:
            body = json.loads(data)
            if body.pop("format") != FORMAT:
                raise UnreadableManifest("the manifest was written by another version of the platform")
            body["published_at"] = datetime.fromisoformat(body["published_at"])
            body["schema"] = [(name, kind) for name, kind in body["schema"]]
            body["parts"] = {name: [StoredFile(**file) for file in files] for name, files in body["parts"].items()}
            return cls(**body)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UnreadableManifest(f"not a manifest: {error}") from error


def version_of(parts: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    """The version of a set of files given as part -> [(file name, sha256)]: sixteen hexadecimal digits."""
    text = json.dumps({name: sorted(files) for name, files in sorted(parts.items())})
    return hashlib.sha256(text.encode()).hexdigest()[:16]
