"""A dataset's folder: the four files of the data stewards, read and checked together.

contract.yaml   Open Data Contract Standard: schema, classification, owner, source, service levels
recipe.json     AWS Glue DataBrew recipe: the cleaning steps
rules.dqdl      AWS Glue Data Quality rules: the gate
curated.sql     the published summary
*.dqdl          any other ruleset is advisory: evaluated and shown, it holds nothing back
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from city_platform.cleaning.recipe import Recipe, parse_recipe
from city_platform.contracts.curated import check_curated
from city_platform.contracts.load import read_contract
from city_platform.contracts.model import Contract, PortalSource
from city_platform.contracts.odcs import instead
from city_platform.errors import Finding, InvalidDefinition
from city_platform.quality.binding import check_ruleset
from city_platform.quality.model import Ruleset
from city_platform.quality.parser import parse_ruleset

CONTRACT, RECIPE, RULES, CURATED = "contract.yaml", "recipe.json", "rules.dqdl", "curated.sql"
FILES = {
    CONTRACT: "the contract in the Open Data Contract Standard",
    RECIPE: "the cleaning steps as a DataBrew recipe, [] for none",
    RULES: "the quality rules in DQDL",
    CURATED: "one SELECT over the trusted rows",
}
MAX_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset as its folder defines it.

    The hashes are the sha256 of the files' bytes with line ends as LF, in hex: equal wherever git checked them out.
    """

    name: str
    folder: Path
    contract: Contract
    recipe: Recipe
    rules: Ruleset  # the gate
    advisory: tuple[tuple[str, Ruleset], ...]  # name without .dqdl, and the rules; by name
    curated_sql: str
    contract_hash: str
    recipe_hash: str
    ruleset_hash: str
    curated_hash: str

    @property
    def sources(self) -> tuple[PortalSource, ...]:
        """The portal's datasets that its rows come from."""
        return self.contract.sources


def load_datasets(root: Path) -> tuple[Dataset, ...]:
    """Every folder below `root`, by name; raises InvalidDefinition with every mistake in all of them."""
    if not root.is_dir():
        remedy = "start from the repository's root, or name the folder that holds the datasets"
        raise InvalidDefinition([Finding(root.name, 0, 0, f"there is no folder {root.name}", remedy)])
    folders = sorted(one for one in root.iterdir() if one.is_dir() and not _hidden(one))
    loaded = [load_dataset(folder) for folder in folders]
    findings = [finding for _, found in loaded for finding in found]
    if findings:
        raise InvalidDefinition(findings)
    return tuple(dataset for dataset, _ in loaded if dataset is not None)


def load_dataset(folder: Path) -> tuple[Dataset | None, list[Finding]]:
    """The dataset, or None and every mistake in its files.

    Findings name files from the folder above the datasets, as `datasets/parking_tickets/recipe.json`.
    """
    place = f"{folder.parent.name}/{folder.name}" if folder.parent.name else folder.name
    findings = _unexpected(folder, place)
    rulesets = sorted({RULES, *(one.name for one in folder.glob("*.dqdl") if one.is_file() and not _hidden(one))})
    texts: dict[str, str] = {}
    for name in (CONTRACT, RECIPE, CURATED, *rulesets):
        text, problems = _read(folder / name, f"{place}/{name}")
        findings += problems
        if text is not None:
            texts[name] = text

    contract: Contract | None = None
    if CONTRACT in texts:
        contract, problems = read_contract(texts[CONTRACT], f"{place}/{CONTRACT}")
        findings += problems
        if contract is not None and contract.name and contract.name != folder.name:
            problem = f"the contract's name is '{contract.name}', its folder's '{folder.name}'"
            findings.append(Finding(f"{place}/{CONTRACT}", 0, 0, problem, "give both the same name"))
    recipe: Recipe | None = None
    if contract is not None and RECIPE in texts:
        recipe, problems = parse_recipe(texts[RECIPE], f"{place}/{RECIPE}", contract)
        findings += problems
    parsed: dict[str, Ruleset] = {}
    for name in (one for one in rulesets if one in texts):
        ruleset, problems = parse_ruleset(texts[name], f"{place}/{name}")
        findings += problems
        if ruleset is not None:
            parsed[name] = ruleset
            findings += check_ruleset(ruleset, contract) if contract is not None else []
    if contract is not None and CURATED in texts:
        findings += check_curated(texts[CURATED], f"{place}/{CURATED}", contract)

    if findings or contract is None or recipe is None or RULES not in parsed:
        return None, sorted(set(findings))
    dataset = Dataset(
        name=contract.name,
        folder=folder,
        contract=contract,
        recipe=recipe,
        rules=parsed.pop(RULES),
        advisory=tuple((name.removesuffix(".dqdl"), ruleset) for name, ruleset in parsed.items()),
        curated_sql=texts[CURATED],
        contract_hash=_hash(texts[CONTRACT]),
        recipe_hash=_hash(texts[RECIPE]),
        ruleset_hash=_hash(texts[RULES]),
        curated_hash=_hash(texts[CURATED]),
    )
    return dataset, []


def _unexpected(folder: Path, place: str) -> list[Finding]:
    """What is in the folder and means nothing: mostly a file whose name is misspelt."""
    findings = []
    for entry in sorted(folder.iterdir()):
        if _hidden(entry) or entry.name in FILES or (entry.suffix == ".dqdl" and entry.is_file()):
            continue
        missing = [name for name in FILES if not (folder / name).exists()]
        kind = "folder" if entry.is_dir() else "file"
        remedy = f"rename it or remove it; a dataset's folder holds {', '.join(FILES)} and other *.dqdl"
        remedy = f"{instead(entry.name, missing)} as its name" if _resembles(entry, missing) else remedy
        findings.append(Finding(f"{place}/{entry.name}", 0, 0, f"a {kind} that means nothing here", remedy))
    return findings


def _resembles(entry: Path, names: list[str]) -> bool:
    return any(entry.stem.casefold()[:4] == name[:4] for name in names)


def _read(file: Path, place: str) -> tuple[str | None, list[Finding]]:
    """The file's text with line ends as LF."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return None, [Finding(place, 0, 0, "the file is missing", f"add it: {FILES[file.name]}")]
    except OSError as error:
        problem = f"the file cannot be read: {error.strerror}"
        return None, [Finding(place, 0, 0, problem, "make it a file that this user may read")]
    if len(data) > MAX_BYTES:
        return None, [Finding(place, 0, 0, f"the file is larger than {MAX_BYTES:,} bytes", "keep definitions small")]
    data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    try:
        return data.decode("utf-8"), []
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        problem = f"the byte 0x{data[error.start]:02X} is not UTF-8"
        return None, [Finding(place, line, column, problem, "save the file as UTF-8")]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _hidden(path: Path) -> bool:
    """Left behind by editors, file managers and Python rather than by a steward."""
    return path.name.startswith((".", "__"))
