import json
import subprocess
import sys
import threading
import traceback
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from city_platform.local.keys import KeyExists, KeyState, LocalKeyService
from city_platform.ports import KeyDenied, KeyDisabled, KeyNotFound, KeyServiceUnavailable, WrongKey
from tests.patience import PATIENCE_S

KEY = "alias/city-platform/licences/personal"
CONTEXT = {"dataset": "licences", "partition": "2024"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "keys.json"


@pytest.fixture
def service(path: Path) -> LocalKeyService:
    service = LocalKeyService(path)
    service.create(KEY)
    return service


def test_the_file_is_private_and_appears_with_the_first_key(path: Path) -> None:
    service = LocalKeyService(path)
    assert service.keys() == []
    assert not path.parent.exists()
    service.create(KEY)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_encrypting_never_makes_a_key(path: Path) -> None:
    with pytest.raises(KeyNotFound, match="create it"):
        LocalKeyService(path).encrypt(KEY, b"data", CONTEXT)
    assert not path.exists()


def test_ensure_keeps_what_is_there_and_create_refuses_it(service: LocalKeyService) -> None:
    sealed = service.encrypt(KEY, b"data", CONTEXT)
    service.ensure(KEY)
    assert service.decrypt(KEY, sealed, CONTEXT) == b"data"
    with pytest.raises(KeyExists, match="rotate"):
        service.create(KEY)


def test_retired_versions_decrypt_nothing_any_more(service: LocalKeyService, path: Path) -> None:
    before = service.encrypt(KEY, b"data", CONTEXT)
    service.rotate(KEY)
    after = service.encrypt(KEY, b"data", CONTEXT)
    current = service.current(KEY)
    assert [service.retire(KEY, current), service.retire(KEY, current)] == [1, 0]
    for one in (service, LocalKeyService(path)):
        assert one.current(KEY) == current
        assert one.decrypt(KEY, after, CONTEXT) == b"data"
        with pytest.raises(WrongKey):
            one.decrypt(KEY, before, CONTEXT)
    service.rotate(KEY)
    assert service.current(KEY) not in {current, service.id_of(before)}
    with pytest.raises(KeyNotFound):
        service.retire("alias/nobody", current)
    with pytest.raises(WrongKey, match="nothing was destroyed"):
        service.retire(KEY, service.id_of(before))
    assert service.retire(KEY, current) == 0  # the version that came meanwhile stays, and so does the one named
    assert service.decrypt(KEY, after, CONTEXT) == b"data"
    with pytest.raises(WrongKey):
        service.id_of(b"short")


def test_rotation_keeps_earlier_versions_for_decryption(service: LocalKeyService) -> None:
    before = service.encrypt(KEY, b"data", CONTEXT)
    service.rotate(KEY)
    after = service.encrypt(KEY, b"data", CONTEXT)
    assert service.keys() == [KeyState(KEY, enabled=True, version=2)]
    assert service.id_of(after) == service.current(KEY) != service.id_of(before)
    # The header names the version, right before the nonce.
    assert (before[17:21], after[17:21]) == (b"\0\0\0\1", b"\0\0\0\2")
    assert service.decrypt(KEY, before, CONTEXT) == service.decrypt(KEY, after, CONTEXT) == b"data"


def test_a_disabled_key_is_refused_both_ways_until_it_is_enabled(service: LocalKeyService) -> None:
    sealed = service.encrypt(KEY, b"data", CONTEXT)
    service.disable(KEY)
    with pytest.raises(KeyDisabled, match=KEY):
        service.encrypt(KEY, b"data", CONTEXT)
    with pytest.raises(KeyDisabled, match="enable"):
        service.decrypt(KEY, sealed, CONTEXT)
    service.enable(KEY)
    assert service.decrypt(KEY, sealed, CONTEXT) == b"data"


@pytest.mark.parametrize("change", [LocalKeyService.rotate, LocalKeyService.disable, LocalKeyService.enable])
def test_changing_an_unknown_key_is_refused(service: LocalKeyService, change) -> None:  # type: ignore[no-untyped-def]  # three unbound methods
    with pytest.raises(KeyNotFound, match="alias/none"):
        change(service, "alias/none")
    assert service.keys() == [KeyState(KEY, enabled=True, version=1)]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_open_to_others_is_refused_with_the_command_that_closes_it(
    service: LocalKeyService, path: Path, mode: int
) -> None:
    path.chmod(mode)
    with pytest.raises(KeyDenied, match=f"chmod 600 {path}"):
        service.encrypt(KEY, b"data", CONTEXT)
    path.chmod(0o600)
    service.encrypt(KEY, b"data", CONTEXT)


def test_a_folder_others_can_write_to_is_refused(service: LocalKeyService, path: Path) -> None:
    path.parent.chmod(0o777)
    with pytest.raises(KeyDenied, match=f"chmod 700 {path.parent}"):
        service.encrypt(KEY, b"data", CONTEXT)


def _without(*path_of: str):  # type: ignore[no-untyped-def]  # a change of any JSON document
    def change(document):  # type: ignore[no-untyped-def]  # see above
        inner = document
        for step in path_of[:-1]:
            inner = inner[step]
        del inner[path_of[-1]]
        return document

    return change


@pytest.mark.parametrize(
    "change",
    [
        _without("format"),
        _without("keys"),
        _without("keys", KEY, "id"),
        _without("keys", KEY, "versions", "1"),
        lambda document: {**document, "format": 2},
        lambda document: [document],
        lambda document: {**document, "keys": {KEY: {**document["keys"][KEY], "versions": {"1": "c2hvcnQ="}}}},
    ],
)
def test_a_damaged_file_is_refused_without_quoting_it(service: LocalKeyService, path: Path, change) -> None:  # type: ignore[no-untyped-def]  # a change of any JSON document
    document = json.loads(path.read_text())
    secret = document["keys"][KEY]["versions"]["1"]
    path.write_text(json.dumps(change(document)))
    with pytest.raises(KeyNotFound, match="backup") as caught:
        service.keys()
    assert secret not in "".join(traceback.format_exception(caught.value))


def test_no_error_carries_the_file_of_a_cut_off_json(service: LocalKeyService, path: Path) -> None:
    secret = json.loads(path.read_text())["keys"][KEY]["versions"]["1"]
    path.write_text(path.read_text()[:-2])
    with pytest.raises(KeyNotFound) as caught:
        service.keys()
    seen: BaseException | None = caught.value
    while seen is not None:
        assert secret not in repr(vars(seen)) + str(seen) + str(getattr(seen, "doc", ""))
        seen = seen.__cause__ or seen.__context__


def test_a_folder_in_the_files_place_is_no_answer(tmp_path: Path) -> None:
    (tmp_path / "keys.json").mkdir(mode=0o700)
    (tmp_path / "keys.json").chmod(0o600)
    with pytest.raises(KeyServiceUnavailable, match=r"keys\.json"):
        LocalKeyService(tmp_path / "keys.json").keys()


def test_reprs_hold_no_key(service: LocalKeyService, path: Path) -> None:
    loaded = service._read()[KEY]
    shown = f"{service!r} {vars(service)!r} {loaded!r} {service.keys()!r}"
    assert repr(loaded.versions[1]) not in shown
    assert json.loads(path.read_text())["keys"][KEY]["versions"]["1"] not in shown


def test_changes_by_one_service_are_seen_by_another(service: LocalKeyService, path: Path) -> None:
    other = LocalKeyService(path)
    sealed = other.encrypt(KEY, b"data", CONTEXT)
    service.rotate(KEY)
    assert other.keys()[0].version == 2
    service.disable(KEY)
    with pytest.raises(KeyDisabled):
        other.decrypt(KEY, sealed, CONTEXT)


def test_the_order_of_the_context_does_not_matter(service: LocalKeyService) -> None:
    sealed = service.encrypt(KEY, b"data", {"a": "1", "b": "2"})
    assert service.decrypt(KEY, sealed, {"b": "2", "a": "1"}) == b"data"


FIRST_USE = """
import sys
from pathlib import Path
from city_platform.local.keys import LocalKeyService

path, key, shared = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
service = LocalKeyService(Path(path))
service.ensure(shared)
service.ensure(key)
"""


def test_first_use_by_many_processes_yields_one_file_with_every_key(path: Path) -> None:
    names = [f"alias/{number}" for number in range(4)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FIRST_USE, path, name, KEY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in names
    ]
    assert [process.stdout.readline() for process in processes if process.stdout] == ["ready\n"] * len(names)
    for process in processes:
        process.communicate("go\n", timeout=PATIENCE_S)
    assert [process.returncode for process in processes] == [0] * len(names)
    assert LocalKeyService(path).keys() == [KeyState(name, enabled=True, version=1) for name in sorted([*names, KEY])]
    assert sorted(file.name for file in path.parent.iterdir()) == ["keys.json", "keys.json.lock"]


def test_a_change_waits_for_the_one_under_way(service: LocalKeyService, path: Path) -> None:
    other = threading.Thread(target=LocalKeyService(path).create, args=("alias/other",))
    with service._changing() as keys:
        other.start()
        other.join(0.2)
        assert other.is_alive()
        keys["alias/mine"] = keys[KEY]
    other.join(PATIENCE_S)
    listed = service.keys()
    assert {key.name for key in listed} == {KEY, "alias/mine", "alias/other"}


@given(
    data=st.binary(min_size=1, max_size=200),
    context=st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3),
    other=st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3),
)
@settings(max_examples=100)
def test_only_the_same_context_opens(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, context: dict[str, str], other: dict[str, str]
) -> None:
    service = LocalKeyService(tmp_path_factory.getbasetemp() / "property" / "keys.json")
    service.ensure(KEY)
    sealed = service.encrypt(KEY, data, context)
    assert service.decrypt(KEY, sealed, context) == data
    if other != context:
        with pytest.raises(WrongKey):
            service.decrypt(KEY, sealed, other)


def test_a_lost_file_is_not_replaced_by_other_keys(service: LocalKeyService, path: Path) -> None:
    sealed = service.encrypt(KEY, b"data", CONTEXT)
    backup = path.read_bytes()
    path.unlink()
    for make in (LocalKeyService(path).ensure, service.ensure, service.create, service.rotate):
        with pytest.raises(KeyNotFound, match="restore it from a backup"):
            make(KEY)
    assert not path.exists()
    path.write_bytes(backup)
    path.chmod(0o600)
    assert service.decrypt(KEY, sealed, CONTEXT) == b"data"
    path.unlink()
    path.with_name("keys.json.lock").unlink()
    service.ensure(KEY)


def test_who_died_before_the_first_key_was_written_begins_again(tmp_path: Path) -> None:
    lock = tmp_path / "keys.json.lock"
    lock.touch(mode=0o600)
    LocalKeyService(tmp_path / "keys.json").create(KEY)
    assert lock.stat().st_size > 0
