"""Packages Lambda functions: only what their handlers import, for the processor they run on, the same bytes each time.

A package is a zip that AWS Lambda takes from S3. Limits are Lambda's: 250 MB unzipped
(https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html); the 50 MB of that page are for packages that
are sent with the request, which none is here.
"""

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

from city_platform.errors import PermanentError
from city_platform.infrastructure.imports import Closure, clients, closure

UNZIPPED_LIMIT = 250 * 1024 * 1024  # bytes
PROJECT = "city-platform"
# What a module reads without importing it by name.
_UNSAID: Mapping[str, Sequence[str]] = {
    "zoneinfo": ["tzdata"],  # the platform asks for no other time zones, see city_platform/__init__.py
}
# Imported on paths that no function takes: functions run no SQL, and Lambda has no room for the engine beside Arrow.
# What is cut here must not be missed: tests/slow/test_packaged_functions.py calls the handlers without it.
NEVER_CALLED = ("city_platform.engines.duckdb", "city_platform.engines.spark_connect", "duckdb")
_LEFT_OUT = re.compile(
    r"(^|/)(tests?|include|__pycache__)/|^bin/|\.(pyc|pyi|pyx|pxd|pxi|h|hpp|c|cpp|cmake)$"
    # Arrow's clients of other stores and services, and the second and third copies that wheels hold for want of links.
    r"|^pyarrow/(lib\w+\.so(\.\d+\.\d+\.\d+)?$|libarrow_(flight|s3|python_flight)\.)"
    r"|^pyarrow/_(flight|s3fs|gcsfs|azurefs|hdfs|orc|dataset_orc|substrait|pyarrow_cpp_tests)\."
)
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment a zip can name


class PackageTooLarge(PermanentError):
    """Lambda would refuse the package; the message names what is large in it."""


class NotInstallable(PermanentError):
    """The pinned packages cannot be had for the functions' processor and Python; uv's message says which."""


@dataclass(frozen=True, slots=True)
class Target:
    """What the functions run on: Lambda's architecture and runtime, as uv and as AWS name them."""

    python: str = "3.13"
    platform: str = "aarch64-manylinux_2_28"  # Amazon Linux 2023 has glibc 2.34


@dataclass(frozen=True, slots=True)
class Package:
    """A built zip. `distributions` are the packages in it, beside the platform's own modules."""

    file: Path
    sha256: str
    zipped: int
    unzipped: int
    distributions: Sequence[str]


def module_of(handler: str) -> str:
    """The module that a Handler such as `city_platform.functions.api.handler` names."""
    return handler.rpartition(".")[0]


def imported(root: Path, handlers: Iterable[str]) -> Closure:
    """What the handlers' modules need when they run, as far as it is ever called. Raises NoSuchModule."""
    return closure(root, {module_of(handler) for handler in handlers}, NEVER_CALLED)


def distributions(found: Closure, lock: Mapping[str, object]) -> Sequence[str]:
    """The packages that the closure's imports come from, with all that these depend on, by the names of uv.lock."""
    providers = _providers()
    names = set(found.external)
    roots = {_normal(one) for name in names - sys.stdlib_module_names for one in providers.get(name, [name])}
    roots |= {one for name in names for one in _UNSAID.get(name, ())}
    return sorted(_with_dependencies(roots, lock))


def build(root: Path, handlers: Iterable[str], out: Path, target: Target | None = None) -> Package:
    """Writes the zip for these handlers. `root` is the checkout with uv.lock; `uv` has to be on the path.

    Raises NoSuchModule, NotInstallable, PackageTooLarge.
    """
    found = imported(root, handlers)
    lock = tomllib.loads((root / "uv.lock").read_text(encoding="utf-8"))
    needed = distributions(found, lock)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _install(root, needed, folder, target or Target())
        for file in [*found.modules, *data_files(root, found.modules)]:
            copy = folder / file.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        _keep_clients(folder, clients(found.modules))
        return zipped(folder, out, needed)


def zipped(folder: Path, out: Path, contents: Sequence[str]) -> Package:
    """The folder's files as a zip whose bytes depend on their names and content alone. Raises PackageTooLarge."""
    files = sorted(
        (file.relative_to(folder).as_posix(), file)
        for file in folder.rglob("*")
        if file.is_file() and not _LEFT_OUT.search(file.relative_to(folder).as_posix())
    )
    unzipped = sum(file.stat().st_size for _, file in files)
    if unzipped > UNZIPPED_LIMIT:
        raise PackageTooLarge(
            f"{unzipped / 2**20:.0f} MB unzipped, and Lambda takes {UNZIPPED_LIMIT // 2**20}: {_largest(files)}; "
            "import less, or give these functions packages of their own"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(f".{out.name}")  # half a zip, left by whoever died here, would be deployed
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in files:
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, file.read_bytes())
    unfinished.replace(out)
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    return Package(out, digest, out.stat().st_size, unzipped, contents)


def _keep_clients(folder: Path, services: Sequence[str]) -> None:
    """Removes botocore's descriptions of all services but these: 18 MB of 20."""
    for service in (folder / "botocore" / "data").glob("*/"):
        if service.name not in services:
            shutil.rmtree(service)


def _largest(files: Iterable[tuple[str, Path]]) -> str:
    sizes: dict[str, int] = {}
    for name, file in files:
        top = name.partition("/")[0]
        sizes[top] = sizes.get(top, 0) + file.stat().st_size
    ranked = sorted(sizes.items(), key=lambda item: -item[1])[:5]
    return ", ".join(f"{name} {size / 2**20:.0f} MB" for name, size in ranked)


def data_files(root: Path, modules: Iterable[Path]) -> Sequence[Path]:
    """What lies beside the modules and is none, in folders without modules, too: schemas, tables, grammars.

    The root itself holds the checkout, and gives nothing.
    """
    found: list[Path] = []
    waiting = sorted({module.parent for module in modules} - {root})
    while waiting:
        inside = [one for one in waiting.pop().iterdir() if one.name != "__pycache__"]
        found += [one for one in inside if one.is_file() and one.suffix != ".py"]
        waiting += [one for one in inside if one.is_dir() and not any(one.glob("**/*.py"))]
    return sorted(found)


@cache
def _providers() -> Mapping[str, list[str]]:
    """Which installed packages a top-level name comes from; it reads them all, half a second."""
    return packages_distributions()


def _with_dependencies(roots: Iterable[str], lock: Mapping[str, object]) -> set[str]:
    packages: dict[str, list[dict[str, object]]] = {}
    for package in _list(lock.get("package")):
        packages.setdefault(str(package["name"]), []).append(package)
    # The extras that the project asks for, e.g. pyjwt[crypto], are part of what its modules import.
    asked = {
        str(one["name"]): [str(extra) for extra in _strings(one.get("extra"))]
        for package in packages.get(PROJECT, [])
        for one in _list(package.get("dependencies"))
    }
    found: set[tuple[str, str]] = set()
    waiting = [(root, extra) for root in roots for extra in ["", *asked.get(root, [])]]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in found:
            continue
        found.add((name, extra))
        for package in packages.get(name, []):
            optional = package.get("optional-dependencies")
            needs = optional.get(extra) if isinstance(optional, dict) and extra else package.get("dependencies")
            for one in _list(needs):
                waiting += [(str(one["name"]), more) for more in ["", *_strings(one.get("extra"))]]
    return {name for name, _ in found}


def _list(value: object) -> list[dict[str, object]]:
    return value if isinstance(value, list) else []


def _strings(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(exported: str, needed: Iterable[str]) -> str:
    """Those blocks of `uv export`'s text, a package with its hashes each, that are about `needed`."""
    wanted = set(needed)
    blocks = re.split(r"\n(?=\S)", exported.rstrip("\n"))
    return "".join(f"{block}\n" for block in blocks if _normal(re.split(r"[=<>~! \[;]", block)[0]) in wanted)


def _install(root: Path, needed: Sequence[str], folder: Path, target: Target) -> None:
    exported = _uv(
        root, "export", "--locked", "--no-default-groups", "--no-emit-project", "--no-header", "--no-annotate"
    )
    with tempfile.TemporaryDirectory() as temporary:
        listed = Path(temporary) / "requirements.txt"
        listed.write_text(requirements(exported, needed), encoding="utf-8")
        _uv(
            root, "pip", "install", "--target", str(folder), "--python-platform", target.platform,
            "--python-version", target.python, "--only-binary", ":all:", "--no-deps", "--require-hashes",
            "--no-compile-bytecode", "-r", str(listed),
        )  # fmt: skip


def _uv(root: Path, *arguments: str) -> str:
    program = shutil.which("uv")
    if program is None:
        raise NotInstallable("uv is not on the path, and it finds and checks the packages: pip install uv")
    done = subprocess.run([program, "--quiet", *arguments], cwd=root, capture_output=True, text=True, check=False)  # noqa: S603 -- our own words, no shell
    if done.returncode:
        raise NotInstallable(f"uv {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout
