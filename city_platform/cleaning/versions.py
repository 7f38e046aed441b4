"""Versions of a recipe, as DataBrew counts them: 1.0, 2.0 and so on, never changed once published.

`recipe.json` is DataBrew's LATEST_WORKING. Publishing copies its steps to `recipe_versions/2.0.json`, in the shape that
`aws databrew describe-recipe` gives, and adds a line to `recipe_versions/SHA256SUMS`, which `sha256sum -c` reads too.
A published file that no longer has its checksum is a mistake of the dataset's folder. Whoever rewrites both is found
out by the lake, which remembers every version that ever made data there.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from city_platform.errors import Finding, PermanentError
from city_platform.ports import ObjectExists, ObjectStore

FOLDER, CHECKSUMS = "recipe_versions", "SHA256SUMS"
WORKING, PUBLISHED = "LATEST_WORKING", "LATEST_PUBLISHED"
_MOST_BYTES = 1_000_000
_NUMBER = re.compile(r"([1-9][0-9]{0,5})\.0")
_LINE = re.compile(r"([0-9a-f]{64}) [ *]([^/ ]+)")

Steps = Sequence[Mapping[str, Any]]  # as they stand in the file


class NothingToPublish(PermanentError):
    """The newest published version says the same."""


class UnknownVersion(PermanentError):
    """The recipe has no such version."""


class VersionChanged(PermanentError):
    """A version made data with other steps before than it has now."""


@dataclass(frozen=True, slots=True)
class RecipeVersion:
    """One version. `hash` is the sha256 of its steps, whatever the file's white space, in hex."""

    number: str  # 1.0, or LATEST_WORKING
    hash: str
    steps: Steps
    description: str = ""
    published_at: datetime | None = None


def hash_of(steps: object) -> str:
    """What steps say, as 64 hexadecimal digits."""
    said = json.dumps(steps, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(said.encode()).hexdigest()


def read_versions(folder: Path, place: str) -> tuple[tuple[RecipeVersion, ...], list[Finding]]:
    """The published versions below a dataset's folder, in their order, and every mistake; `place` names the folder."""
    below = folder / FOLDER
    if not below.is_dir():
        return (), []
    where = f"{place}/{FOLDER}"
    sums, findings = _checksums(below / CHECKSUMS, f"{where}/{CHECKSUMS}")
    versions: dict[int, RecipeVersion] = {}
    for file in sorted(one for one in below.iterdir() if one.name != CHECKSUMS and not one.name.startswith(".")):
        found = _NUMBER.fullmatch(file.stem)
        if found is None or file.suffix != ".json" or not file.is_file():
            remedy = "remove it; versions are called 1.0.json, 2.0.json and are written by `recipes publish`"
            findings.append(Finding(f"{where}/{file.name}", 0, 0, "no published version", remedy))
        elif file.name not in sums:
            remedy = "remove it and publish again: publishing was interrupted, or the file was made by hand"
            findings.append(Finding(f"{where}/{file.name}", 0, 0, f"{CHECKSUMS} does not name it", remedy))
        elif file.stat().st_size > _MOST_BYTES or _sha256(file) != sums[file.name]:
            remedy = f"restore it (git checkout -- {where}/{file.name}), change recipe.json and publish that instead"
            findings.append(
                Finding(f"{where}/{file.name}", 0, 0, f"version {file.stem} is published and was edited", remedy)
            )
        else:
            version = _version(file)
            if version is None:
                findings.append(Finding(f"{where}/{file.name}", 0, 0, "not a published recipe", "restore it from git"))
            else:
                versions[int(found[1])] = version
    for name in sorted(sums.keys() - {file.name for file in below.iterdir()}):
        remedy = f"restore it (git checkout -- {where}/{name}): what was published stays"
        findings.append(Finding(f"{where}/{CHECKSUMS}", 0, 0, f"the published file {name} is missing", remedy))
    return tuple(versions[number] for number in sorted(versions)), findings


def running(recipe_hash: str, versions: Sequence[RecipeVersion]) -> str:
    """The number of the version whose steps `recipe.json` has; LATEST_WORKING where none is published."""
    return next((one.number for one in reversed(versions) if one.hash == recipe_hash), WORKING)


def find(wanted: str, working: RecipeVersion, versions: Sequence[RecipeVersion]) -> RecipeVersion:
    """A version by its number, LATEST_WORKING or LATEST_PUBLISHED; raises UnknownVersion."""
    known = {WORKING: working, **{one.number: one for one in versions}}
    if versions:
        known[PUBLISHED] = versions[-1]
    if wanted not in known:
        raise UnknownVersion(f"there is no version {wanted}; there are: {', '.join(known)}")
    return known[wanted]


def publish(
    folder: Path, name: str, working: RecipeVersion, versions: Sequence[RecipeVersion], description: str, now: datetime
) -> RecipeVersion:
    """Writes the working recipe as the next version; raises NothingToPublish where the newest one says the same."""
    if versions and versions[-1].hash == working.hash:
        raise NothingToPublish(f"{name}: recipe.json says what version {versions[-1].number} says; change it first")
    number = f"{int(versions[-1].number.partition('.')[0]) + 1 if versions else 1}.0"
    body = {
        "Name": name,
        "RecipeVersion": number,
        "Description": description,
        "PublishedDate": now.isoformat(timespec="seconds"),
        "Steps": working.steps,
    }
    below = folder / FOLDER
    below.mkdir(exist_ok=True)
    file = below / f"{number}.json"
    with file.open("x", encoding="utf-8", newline="\n") as written:
        written.write(json.dumps(body, ensure_ascii=False, indent=2) + "\n")
    sums = below / CHECKSUMS
    lines = sums.read_text(encoding="utf-8") if sums.exists() else ""
    staged = below / f".{CHECKSUMS}"
    staged.write_text(f"{lines}{_sha256(file)}  {file.name}\n", encoding="utf-8", newline="\n")
    staged.replace(sums)
    return RecipeVersion(number, working.hash, working.steps, description, now)


def remember(store: ObjectStore, dataset: str, number: str, recipe_hash: str) -> None:
    """Writes down, once, with which steps a version made data; raises VersionChanged if it had others before."""
    if number == WORKING:
        return
    key = f"recipes/{dataset}/{number}.sha256"
    try:
        store.put(key, recipe_hash.encode(), create_only=True)
    except ObjectExists:
        if store.get(key).decode() != recipe_hash:
            raise VersionChanged(
                f"{dataset}: version {number} of the recipe made data here with other steps: restore the published "
                f"file from git and publish the change as a new version"
            ) from None


def _checksums(file: Path, place: str) -> tuple[dict[str, str], list[Finding]]:
    sums: dict[str, str] = {}
    findings = []
    if not file.is_file() or file.stat().st_size > _MOST_BYTES:
        return sums, [Finding(place, 0, 0, "the file is missing or too large", "restore it from git")]
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        found = _LINE.fullmatch(line)
        if found is None or found[2] in sums:
            findings.append(Finding(place, number, 1, "not a checksum and a file's name, once", "restore it from git"))
        else:
            sums[found[2]] = found[1]
    return sums, findings


def _sha256(file: Path) -> str:
    """Of the bytes with line ends as LF: equal wherever git checked the file out."""
    return hashlib.sha256(file.read_bytes().replace(b"\r\n", b"\n").replace(b"\r", b"\n")).hexdigest()


def _version(file: Path) -> RecipeVersion | None:
    try:
        body = json.loads(file.read_bytes())
        published = datetime.fromisoformat(body["PublishedDate"])
        if body["RecipeVersion"] != file.stem:
            return None
        return RecipeVersion(file.stem, hash_of(body["Steps"]), body["Steps"], body["Description"], published)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
