"""The audit log keeps what it was told and shows every way of tampering with it."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from city_platform.governance.audit import (
    AT_ONCE,
    HEAD,
    MOST_BYTES,
    AuditLog,
    Entry,
    EntryTooLarge,
    Head,
    TamperedLog,
)
from city_platform.local.store import LocalObjectStore
from city_platform.ports import ObjectExists, ObjectNotFound
from tests.town import StandingClock


class MemoryStore:
    """The operations the log uses, over a dictionary."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def get(self, key: str) -> bytes:
        if key not in self.objects:
            raise ObjectNotFound(key)
        return self.objects[key]

    def put(self, key: str, data: bytes, *, create_only: bool = False) -> None:
        if create_only and key in self.objects:
            raise ObjectExists(key)
        self.objects[key] = data

    def size(self, key: str) -> int:
        return len(self.get(key))

    def keys(self, prefix: str) -> Iterator[str]:
        yield from sorted(key for key in self.objects if key.startswith(prefix))


def key(number: int) -> str:
    return f"audit/{number:010d}.json"


def log_of(facts: list[dict[str, object]]) -> tuple[AuditLog, MemoryStore]:
    store = MemoryStore()
    log = AuditLog(store, StandingClock())  # type: ignore[arg-type]  # the store has what the log uses
    for one in facts:
        log.append(actor="open-data-steward", account="os", action="waive", facts=one)
    return log, store


def swapped(store: MemoryStore) -> None:
    store.objects[key(2)], store.objects[key(3)] = store.objects[key(3)], store.objects[key(2)]


def inserted(store: MemoryStore) -> None:
    store.objects[key(5)] = store.objects[key(4)]
    store.objects[key(4)] = store.objects[key(3)]


def forged(store: MemoryStore) -> None:
    """An entry changed with care: still canonical."""
    body = json.loads(store.objects[key(2)])
    body["actor"] = "somebody-else"
    store.objects[key(2)] = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def cut(store: MemoryStore, *numbers: int) -> None:
    for number in numbers:
        del store.objects[key(number)]


TAMPERING: dict[str, tuple[Callable[[MemoryStore], None], str]] = {
    "changed with care": (forged, "entry 3 does not follow"),
    "changed at the end": (lambda s: s.objects.update({key(4): s.objects[key(4)].replace(b"os", b"so")}), "entry 4"),
    "changed to rubbish": (lambda s: s.objects.update({key(2): b"[1"}), "0000000002.json was changed"),
    "white space": (lambda s: s.objects.update({key(4): s.objects[key(4)] + b"\n"}), "0000000004.json was changed"),
    "removed inside": (lambda s: cut(s, 2), "entry 2 is missing"),
    "removed first": (lambda s: cut(s, 1), "entry 1 is missing"),
    "removed last": (lambda s: cut(s, 4), "entry 4 is gone"),
    "removed all": (lambda s: cut(s, 1, 2, 3, 4), "entry 4 is gone"),
    "removed head": (lambda s: s.objects.pop(HEAD) and None, "audit-head.json is missing"),
    "changed head": (lambda s: s.objects.update({HEAD: b'{"sequence":3}'}), "audit-head.json was changed"),
    "head of elsewhere": (
        lambda s: s.objects.update({HEAD: s.objects[HEAD].replace(b'"sha256":"', b'"sha256":"0')}),
        "entry 4 is not the one",
    ),
    "reordered": (swapped, "holds entry"),
    "inserted": (inserted, "holds entry"),
    "a stranger among them": (lambda s: s.objects.update({"audit/0000000002.json.bak": b"{}"}), "none of the log's"),
    "swollen": (lambda s: s.objects.update({key(4): b" " * (MOST_BYTES + 1)}), "larger than any entry"),
}


def test_what_was_appended_is_read_again() -> None:
    facts: list[dict[str, object]] = [{"n": n, "text": "é"} for n in range(4)]
    log, _ = log_of(facts)
    found = log.read()
    assert found.intact
    assert [entry.facts for entry in found.entries] == facts
    assert [entry.sequence for entry in found.entries] == [1, 2, 3, 4]
    assert found.head.sequence == 4
    assert AuditLog(MemoryStore(), StandingClock()).read().intact  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize("kind", TAMPERING)
def test_tampering_is_found_and_nothing_is_added_to_such_a_log(kind: str) -> None:
    log, store = log_of([{"n": n} for n in range(4)])
    tamper, said = TAMPERING[kind]
    tamper(store)
    before = dict(store.objects)
    assert any(said in one for one in log.read().breaks), log.read().breaks
    with pytest.raises(TamperedLog, match="restored"):
        log.append(actor="a", account="b", action="c", facts={})
    assert store.objects == before


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(count=st.integers(1, 5), data=st.data())
def test_no_single_byte_can_change_unseen(count: int, data: st.DataObject) -> None:
    log, store = log_of([{"reason": f"r{n}"} for n in range(count)])
    at = data.draw(st.sampled_from(sorted(store.objects)))
    content = bytearray(store.objects[at])
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    store.objects[at] = bytes(content)
    assert not log.read().intact


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(facts=st.dictionaries(st.text(max_size=8), _JSON, max_size=4))
def test_an_entry_survives_being_written_down(facts: dict[str, object]) -> None:
    entry = Entry(1, "0" * 64, StandingClock().time, "open-data-steward", "os", "waive", facts)
    assert Entry.from_json(entry.to_json()) == entry
    assert Entry.from_json(entry.to_json()).to_json() == entry.to_json()


@given(data=st.binary(max_size=80) | _JSON.map(lambda one: json.dumps(one).encode()))
def test_what_is_no_entry_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 -- any reason
        Entry.from_json(data)


def test_a_noted_head_shows_a_log_that_was_written_anew() -> None:
    log, _ = log_of([{"n": 1}, {"n": 2}])
    noted = log.read().head
    anew, _ = log_of([{"n": 1}, {"n": 3}])
    assert anew.read().intact
    assert not anew.verify(noted).intact
    assert not log_of([{"n": 1}])[0].verify(noted).intact
    log.append(actor="a", account="b", action="c", facts={})
    assert log.verify(noted).intact
    assert log.verify(Head(0, "0" * 64)).intact


def test_a_writer_that_died_before_moving_the_head_breaks_nothing() -> None:
    log, store = log_of([{"n": 1}])
    head = store.objects[HEAD]
    log.append(actor="a", account="b", action="c", facts={})
    store.objects[HEAD] = head
    assert log.read().intact
    log.append(actor="a", account="b", action="d", facts={})
    assert json.loads(store.objects[HEAD])["sequence"] == 3


def test_an_entry_is_bounded() -> None:
    log, store = log_of([])
    with pytest.raises(EntryTooLarge, match="shorter"):
        log.append(actor="a", account="b", action="c", facts={"reason": "x" * MOST_BYTES})
    assert store.objects == {}


def test_writers_take_turns(tmp_path: Path) -> None:
    log = AuditLog(LocalObjectStore(tmp_path), StandingClock())
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: log.append(actor="a", account="b", action="c", facts={"n": n}), range(24)))
    found = log.read()
    assert found.intact, found.breaks
    assert sorted(entry.facts["n"] for entry in found.entries) == list(range(24))
    assert json.loads(log.store.get(HEAD))["sequence"] == 24


def test_a_long_log_is_read_in_its_order() -> None:
    log, store = log_of([{"n": n} for n in range(3 * AT_ONCE)])
    reading = log.read()
    assert (reading.intact, [one.facts["n"] for one in reading.entries]) == (True, list(range(3 * AT_ONCE)))
    store.objects[key(40)] = bytes(MOST_BYTES + 1)
    cut(store, 20)
    assert log.read().breaks == (
        f"{key(40)} is larger than any entry", f"entry 20 is missing before {key(21)}",
        f"entry 40 is missing before {key(41)}",
    )  # fmt: skip
