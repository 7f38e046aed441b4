"""Packages of functions hold what the handlers import and nothing else, and are the same bytes each time."""

import hashlib
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from city_platform.infrastructure import package
from city_platform.infrastructure.imports import NoSuchModule, _imported, clients, closure
from city_platform.infrastructure.package import PackageTooLarge, distributions, imported, requirements, zipped
from tests.conftest import ROOT
from tests.packaged import HANDLERS


def write(root: Path, **modules: str) -> Path:
    for name, text in modules.items():
        file = root.joinpath(*name.split("__")).with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        for folder in file.relative_to(root).parents:
            if folder != Path():
                (root / folder / "__init__.py").touch()
    return root


def test_a_closure_follows_imports_inside_functions_and_leaves_out_those_for_types(tmp_path: Path) -> None:
    write(
        tmp_path,
        entry="from typing import TYPE_CHECKING\nimport ours.near\nif TYPE_CHECKING:\n    import ours.types\n",
        ours__near="import json\ndef later():\n    from ours import far\n    from ours.near import later\n",
        ours__far="import outside.deep\nimport ours.cut\n",
        ours__cut="import heavy\n",
        ours__types="import stubs\n",
    )
    found = closure(tmp_path, ["entry"], without=["ours.cut"])
    names = [file.relative_to(tmp_path).as_posix() for file in found.modules]
    assert names == ["entry.py", "ours/__init__.py", "ours/far.py", "ours/near.py"]
    assert set(found.external) == {"typing", "json", "outside"}
    with pytest.raises(NoSuchModule, match="nowhere"):
        closure(tmp_path, ["nowhere"])


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=30))
def test_a_closure_is_what_can_be_reached(edges: list[tuple[int, int]]) -> None:
    import tempfile

    reached, waiting = set(), [0]
    while waiting:
        at = waiting.pop()
        if at not in reached:
            reached.add(at)
            waiting += [end for start, end in edges if start == at]
    with tempfile.TemporaryDirectory() as folder:
        for number in range(8):
            text = "".join(f"import m{end}\n" for start, end in edges if start == number)
            Path(folder, f"m{number}.py").write_text(text)
        found = closure(Path(folder), ["m0"])
    assert {file.stem for file in found.modules} == {f"m{number}" for number in reached}


def test_no_function_carries_the_orchestrator_or_the_engine() -> None:
    assert len(HANDLERS) > 5
    found = imported(ROOT, HANDLERS)
    assert not {"dagster", "dagster_aws", "duckdb", "amqtt", "matplotlib", "pandas"} & set(found.external)
    modules = {file.relative_to(ROOT).as_posix() for file in found.modules}
    assert not {one for one in modules if one.startswith(("assets/", "sensors/", "city_platform/cli/"))}


def test_what_is_left_out_is_asked_for_only_where_functions_never_come() -> None:
    """Who asks for more would fail on AWS at the first call; tests/slow/test_packaged_functions.py calls them all."""
    asking = {
        file.relative_to(ROOT).as_posix()
        for file in imported(ROOT, HANDLERS).modules
        if {part for name in _imported(file.read_text("utf-8")) for part in (name, name.partition(".")[0])}
        & set(package.NEVER_CALLED)
    }
    assert asking == {
        "city_platform/aws/platform.py",  # Platform.engine
        "city_platform/local/platform.py",
        "city_platform/engines/spark_settings.py",  # Platform.spark
        "city_platform/protection/masking.py",  # register_pseudonym, with a session of the engine
    }


def test_the_function_of_the_traffic_stream_stays_small() -> None:
    found = imported(ROOT, ["lambda_handler.lambda_handler"])
    lock = {"package": [{"name": "numpy"}, {"name": "boto3", "dependencies": [{"name": "botocore"}]}]}
    assert set(distributions(found, lock)) == {"boto3", "botocore", "msgspec", "numpy", "pybase64", "tzdata"}


def test_what_is_needed_comes_with_what_it_depends_on_and_the_extras_asked_for() -> None:
    lock = {
        "package": [
            {"name": "city-platform", "dependencies": [{"name": "pyjwt", "extra": ["crypto"]}]},
            {
                "name": "pyjwt",
                "optional-dependencies": {"crypto": [{"name": "cryptography"}], "dev": [{"name": "ruff"}]},
            },
            {"name": "cryptography", "dependencies": [{"name": "cffi", "marker": "platform_python != 'PyPy'"}]},
        ]
    }
    found = package.closure(ROOT, ["city_platform.api.auth"])
    assert {"pyjwt", "cryptography", "cffi"} <= set(distributions(found, lock))
    assert "ruff" not in distributions(found, lock)


def test_data_beside_modules_come_along_and_other_modules_do_not(tmp_path: Path) -> None:
    write(tmp_path, ours__a="", ours__other__b="")
    for name in ("ours/t.yaml", "ours/schemas/deep/s.json", "ours/other/o.yaml", "ours/__pycache__/a.pyc", "top.toml"):
        tmp_path.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        tmp_path.joinpath(name).touch()
    found = package.data_files(tmp_path, [tmp_path / "ours" / "a.py"])
    assert [one.relative_to(tmp_path).as_posix() for one in found] == ["ours/schemas/deep/s.json", "ours/t.yaml"]
    with_other = package.data_files(tmp_path, [tmp_path / "ours" / "a.py", tmp_path / "ours" / "other" / "b.py"])
    assert len(with_other) == 3


def test_requirements_keep_the_hashes_of_what_is_needed() -> None:
    blocks = [
        "boto3==1 \\\n    --hash=sha256:a \\\n    --hash=sha256:b\n",
        "Py_YAML==2 ; python_version < '3.12' \\\n    --hash=sha256:c\n",
        "x==3\n",
    ]
    exported = "".join(blocks)
    assert requirements(exported, ["boto3", "py-yaml"]) == "".join(blocks[:2])
    assert requirements(exported, ["x"]) == "x==3\n"


def test_clients_are_found_by_the_calls_that_make_them() -> None:
    files = sorted((ROOT / "city_platform/aws").glob("*.py"))
    assert set(clients(files)) >= {"dynamodb", "kms", "sns", "sqs", "events", "kinesis", "s3", "secretsmanager", "glue"}


def test_the_same_files_are_the_same_bytes_and_leftovers_stay_out(tmp_path: Path) -> None:
    kept = ["a.py", "pyarrow/libarrow.so.2600", "numpy/testing/x.py", "botocore/data/s3/service.json"]
    left = ["b/tests/t.py", "b/__pycache__/a.pyc", "pyarrow/libarrow_flight.so.2600", "pyarrow/include/arrow.h"]
    left += ["pyarrow/libarrow_python.so.2600.1.0", "pyarrow/_s3fs.cpython-313.so", "bin/tool"]
    made = []
    for number, names in enumerate([kept + left, list(reversed(kept))]):
        folder = tmp_path / str(number)
        for name in names:
            folder.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
            folder.joinpath(name).write_text(name)
        made.append(zipped(folder, tmp_path / f"{number}.zip", []))
    assert zipfile.ZipFile(made[0].file).namelist() == sorted(kept)
    assert made[0].sha256 == made[1].sha256
    assert made[0].file.read_bytes() == made[1].file.read_bytes()


def test_whoever_dies_over_a_package_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, out = tmp_path / "in", tmp_path / "out.zip"
    write(folder, a="1", b="2")
    before = zipped(folder, out, [])
    written: list[str] = []

    def dies(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, data: bytes) -> None:
        written.append(entry.filename)
        if len(written) > 1:
            raise KeyboardInterrupt
        original(archive, entry, data)

    original = zipfile.ZipFile.writestr
    monkeypatch.setattr(zipfile.ZipFile, "writestr", dies)
    with pytest.raises(KeyboardInterrupt):
        zipped(folder, out, [])
    monkeypatch.undo()
    assert hashlib.sha256(out.read_bytes()).hexdigest() == before.sha256
    assert zipped(folder, out, []).sha256 == before.sha256


def test_a_package_that_lambda_would_refuse_names_what_is_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "UNZIPPED_LIMIT", 1000)
    folder = tmp_path / "in"
    write(folder, small="", big__module="#" * 1001)
    with pytest.raises(PackageTooLarge, match="big 0 MB"):
        zipped(folder, tmp_path / "out.zip", [])
    assert not (tmp_path / "out.zip").exists()
