"""A dataset's folder: the four files of the data stewards, read and checked together.

contract.yaml   Open Data Contract Standard: schema, classification, owner, source, service levels
recipe.json     AWS Glue DataBrew recipe: the cleaning steps
rules.dqdl      AWS Glue Data Quality rules: the gate
curated.sql     the published summary
*.dqdl          any other ruleset is advisory: evaluated and shown, it holds nothing back
questions/      business questions, each a SELECT over the trusted rows of all years
recipe_versions/    the published versions of the recipe, never edited
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from city_platform.cleaning.recipe import Recipe, parse_recipe
from city_platform.cleaning.versions import FOLDER, WORKING, RecipeVersion, read_versions, running
from city_platform.contracts.curated import check_curated
from city_platform.contracts.decisions import OPEN
from city_platform.contracts.load import about_rows, read_contract
from city_platform.contracts.model import Contract, PortalSource
from city_platform.contracts.odcs import instead
from city_platform.contracts.question import Question, read_question
from city_platform.errors import Finding, InvalidDefinition
from city_platform.quality.binding import check_ruleset
from city_platform.quality.model import Item, Rule, Ruleset, leaves
from city_platform.quality.parser import parse_ruleset
from city_platform.quality.references import COMPARING, PRIMARY, ReferenceUse, reference_columns, reference_uses
from city_platform.quality.variables import resolved

CONTRACT, RECIPE, RULES, CURATED = "contract.yaml", "recipe.json", "rules.dqdl", "curated.sql"
QUESTIONS = "questions"
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
    recipe_versions: tuple[RecipeVersion, ...]  # the published ones, oldest first
    questions: tuple[Question, ...] = ()  # by name

    @property
    def recipe_version(self) -> str:
        """The number of the published version that `recipe.json` equals, else LATEST_WORKING."""
        return running(self.recipe.hash, self.recipe_versions)

    @property
    def working_recipe(self) -> RecipeVersion:
        """`recipe.json`, as one of the versions."""
        return RecipeVersion(WORKING, self.recipe.hash, self.recipe.written)

    @property
    def rulesets(self) -> tuple[Ruleset, ...]:
        """The gate's and the advisory ones."""
        return (self.rules, *(ruleset for _, ruleset in self.advisory))

    @property
    def references(self) -> tuple[ReferenceUse, ...]:
        """The other datasets that its rules compare with."""
        return tuple(sorted({use for ruleset in self.rulesets for use in reference_uses(ruleset)}))

    @property
    def sources(self) -> tuple[PortalSource, ...]:
        """The portal's datasets that its rows come from."""
        return self.contract.sources


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder as it was read: with mistakes there is no dataset. A draft's open decisions are none."""

    name: str
    draft: bool
    dataset: Dataset | None
    findings: tuple[Finding, ...]


def load_datasets(root: Path) -> tuple[Dataset, ...]:
    """Every folder below `root`, by name; raises InvalidDefinition with every mistake in all of them.

    Drafts are left out, whatever is in them.
    """
    folders = [one for one in read_folders(root) if not one.draft]
    findings = [finding for one in folders for finding in one.findings]
    datasets = tuple(one.dataset for one in folders if one.dataset is not None)
    if not findings:
        findings = reference_findings(datasets)
    if findings:
        raise InvalidDefinition(findings)
    return datasets


def read_folders(root: Path) -> tuple[Folder, ...]:
    """Every folder below `root`, drafts too, by name; raises InvalidDefinition where there is no such folder."""
    if not root.is_dir():
        remedy = "start from the repository's root, or name the folder that holds the datasets"
        raise InvalidDefinition([Finding(root.name, 0, 0, f"there is no folder {root.name}", remedy)])
    return tuple(_read_folder(one) for one in sorted(root.iterdir()) if one.is_dir() and not _hidden(one))


def reference_findings(datasets: Sequence[Dataset]) -> list[Finding]:
    """What is wrong with rules that compare with other datasets: an unknown dataset or column, or a circle."""
    known = {dataset.name: dataset for dataset in datasets}
    findings = []
    for dataset in datasets:
        for ruleset in dataset.rulesets:
            for rule in (leaf for item in ruleset.rules for leaf in _plain_leaves(item, ruleset)):
                for name, column in reference_columns(rule):
                    findings += _unknown(known, name, column, rule, ruleset.file)
    try:
        in_order_of_reference(datasets)
    except CycleError as error:
        names: list[str] = error.args[1]
        problem = f"datasets whose rules wait for each other: {' -> '.join(names)}"
        place = f"{known[names[0]].folder.parent.name}/{names[0]}/{RULES}"
        findings.append(Finding(place, 0, 0, problem, "let only one of them compare with the other"))
    return findings


def in_order_of_reference(datasets: Sequence[Dataset]) -> tuple[Dataset, ...]:
    """The same datasets, each behind those that its rules compare with; raises CycleError where they go in a circle."""
    waiting = {dataset.name: {use.dataset for use in dataset.references} for dataset in datasets}
    known = {dataset.name: dataset for dataset in datasets}
    return tuple(known[name] for name in TopologicalSorter(waiting).static_order() if name in known)


def _plain_leaves(item: Item, ruleset: Ruleset) -> tuple[Rule, ...]:
    return tuple(rule for rule in leaves(resolved(item, ruleset)) if rule.type in COMPARING)


def _unknown(known: Mapping[str, Dataset], name: str, column: str, rule: Rule, file: str) -> list[Finding]:
    if name == PRIMARY:
        return []
    if name not in known:
        return [Finding(file, rule.line, rule.column, f"there is no dataset {name}", instead(name, list(known)))]
    names = [one.name for one in known[name].contract.columns]
    if not column or column.casefold() in {one.casefold() for one in names}:
        return []
    problem = f'{name} has no column "{column}"'
    return [Finding(file, rule.line, rule.column, problem, instead(column, names))]


def load_dataset(folder: Path) -> tuple[Dataset | None, list[Finding]]:
    """The dataset, or None and every mistake in its files; a draft comes with its open decisions.

    Findings name files from the folder above the datasets, as `datasets/parking_tickets/recipe.json`.
    """
    read = _read_folder(folder)
    return read.dataset, list(read.findings)


def _read_folder(folder: Path) -> Folder:
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
    versions, problems = read_versions(folder, place)
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
    questions, problems = _questions(folder / QUESTIONS, f"{place}/{QUESTIONS}", contract)
    findings += problems

    draft = contract is not None and contract.draft
    mistakes = [one for one in findings if not (draft and one.code == OPEN)]
    found = tuple(sorted(set(findings)))
    if mistakes or contract is None or recipe is None or RULES not in parsed:
        return Folder(folder.name, draft, None, found)
    dataset = Dataset(
        name=contract.name,
        folder=folder,
        contract=contract,
        recipe=recipe,
        rules=parsed.pop(RULES),
        advisory=tuple((name.removesuffix(".dqdl"), ruleset) for name, ruleset in parsed.items()),
        curated_sql=texts[CURATED],
        contract_hash=_hash(about_rows(texts[CONTRACT])),
        recipe_hash=_hash(texts[RECIPE]),
        ruleset_hash=_hash(texts[RULES]),
        curated_hash=_hash(texts[CURATED]),
        recipe_versions=versions,
        questions=questions,
    )
    return Folder(folder.name, draft, dataset, found)


def _questions(folder: Path, place: str, contract: Contract | None) -> tuple[tuple[Question, ...], list[Finding]]:
    """The questions by name; none without a readable contract."""
    found: list[Question] = []
    findings: list[Finding] = []
    for file in sorted(one for one in folder.glob("*") if not _hidden(one)) if contract is not None else ():
        if file.suffix != ".sql":
            problem = "a file that means nothing here"
            findings.append(Finding(f"{place}/{file.name}", 0, 0, problem, "name a question NAME.sql, or remove it"))
            continue
        text, problems = _read(file, f"{place}/{file.name}")
        if text is not None and contract is not None:
            question, problems = read_question(text, f"{place}/{file.name}", contract)
            found += [question] if question is not None else []
        findings += problems
    return tuple(found), findings


def _unexpected(folder: Path, place: str) -> list[Finding]:
    """What is in the folder and means nothing: mostly a file whose name is misspelt."""
    findings = []
    for entry in sorted(folder.iterdir()):
        if _hidden(entry) or entry.name in {*FILES, FOLDER, QUESTIONS} or (entry.suffix == ".dqdl" and entry.is_file()):
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
