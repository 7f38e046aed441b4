"""The audit log keeps what it was told and shows every way of tampering with it."""

import json
from collections import UserDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from city_platform.governance.audit import (
    AT_ONCE,
    HEAD,
    MOST_BYTES,
    SETTLED,
    AuditLog,
    Entry,
    EntryTooLarge,
    Head,
    TamperedLog,
)
from city_platform.local.store import LocalObjectStore
from city_platform.ports import ObjectExists, ObjectNotFound, StoredObject
from tests.town import StandingClock

LONG_AGO = StandingClock().time - SETTLED
_writes = count(1)  # of all stores: every one is a tag of its own


class Contents(UserDict[str, bytes]):
    """Objects by key, with a tag of each one's last write."""

    def __init__(self) -> None:
        self.tags: dict[str, str] = {}
        super().__init__()

    def __setitem__(self, key: str, data: bytes) -> None:
        self.tags[key] = str(next(_writes))
        super().__setitem__(key, data)


class MemoryStore:
    """The operations the log uses, over a dictionary, which tests change behind its back."""

    def __init__(self, modified: datetime = LONG_AGO) -> None:
        self.contents = Contents()
        self.modified = modified
        self.given: list[str] = []
        self._name = f"memory-{next(_writes)}"

    def get(self, key: str) -> bytes:
        if key not in self.contents:
            raise ObjectNotFound(key)
        self.given.append(key)
        return self.contents[key]

    def put(self, key: str, data: bytes, *, create_only: bool = False) -> None:
        if create_only and key in self.contents:
            raise ObjectExists(key)
        self.contents[key] = data

    def keys(self, prefix: str) -> Iterator[str]:
        yield from (one.key for one in self.objects(prefix))

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        for key in sorted(key for key in self.contents if key.startswith(prefix)):
            yield StoredObject(key, len(self.contents[key]), self.modified, self.contents.tags[key])

    def uri(self, key: str) -> str:
        return f"{self._name}/{key}"


def key(number: int) -> str:
    return f"audit/{number:010d}.json"


def log_of(facts: list[dict[str, object]]) -> tuple[AuditLog, MemoryStore]:
    store = MemoryStore()
    log = AuditLog(store, StandingClock())  # type: ignore[arg-type]  # the store has what the log uses
    for one in facts:
        log.append(actor="open-data-steward", account="os", action="waive", facts=one)
    return log, store


def swapped(store: MemoryStore) -> None:
    store.contents[key(2)], store.contents[key(3)] = store.contents[key(3)], store.contents[key(2)]


def inserted(store: MemoryStore) -> None:
    store.contents[key(5)] = store.contents[key(4)]
    store.contents[key(4)] = store.contents[key(3)]


def forged(store: MemoryStore) -> None:
    """An entry changed with care: still canonical."""
    body = json.loads(store.contents[key(2)])
    body["actor"] = "somebody-else"
    store.contents[key(2)] = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def cut(store: MemoryStore, *numbers: int) -> None:
    for number in numbers:
        del store.contents[key(number)]


TAMPERING: dict[str, tuple[Callable[[MemoryStore], None], str]] = {
    "changed with care": (forged, "entry 3 does not follow"),
    "changed at the end": (lambda s: s.contents.update({key(4): s.contents[key(4)].replace(b"os", b"so")}), "entry 4"),
    "changed to rubbish": (lambda s: s.contents.update({key(2): b"[1"}), "0000000002.json was changed"),
    "white space": (lambda s: s.contents.update({key(4): s.contents[key(4)] + b"\n"}), "0000000004.json was changed"),
    "removed inside": (lambda s: cut(s, 2), "entry 2 is missing"),
    "removed first": (lambda s: cut(s, 1), "entry 1 is missing"),
    "removed last": (lambda s: cut(s, 4), "entry 4 is gone"),
    "removed all": (lambda s: cut(s, 1, 2, 3, 4), "entry 4 is gone"),
    "removed head": (lambda s: s.contents.__delitem__(HEAD), "audit-head.json is missing"),
    "changed head": (lambda s: s.contents.update({HEAD: b'{"sequence":3}'}), "audit-head.json was changed"),
    "head of elsewhere": (
        lambda s: s.contents.update({HEAD: s.contents[HEAD].replace(b'"sha256":"', b'"sha256":"0')}),
        "entry 4 is not the one",
    ),
    "reordered": (swapped, "holds entry"),
    "inserted": (inserted, "holds entry"),
    "a stranger among them": (lambda s: s.contents.update({"audit/0000000002.json.bak": b"{}"}), "none of the log's"),
    "swollen": (lambda s: s.contents.update({key(4): b" " * (MOST_BYTES + 1)}), "larger than any entry"),
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
@pytest.mark.parametrize("known", [False, True])
def test_tampering_is_found_and_nothing_is_added_to_such_a_log(kind: str, *, known: bool) -> None:
    log, store = log_of([{"n": n} for n in range(4)])
    tamper, said = TAMPERING[kind]
    if known:
        assert log.read().intact
    tamper(store)
    before = dict(store.contents)
    assert any(said in one for one in log.read().breaks), log.read().breaks
    with pytest.raises(TamperedLog, match="restored"):
        log.append(actor="a", account="b", action="c", facts={})
    assert store.contents == before


@dataclass(frozen=True)
class _Write:
    """Somebody writes an object past the log: the bytes of another, changed at one place or not."""

    to: int
    of: int
    flipped: int | None


_STEPS = st.lists(
    st.sampled_from(["append", "read", "remove the head"])
    | st.integers(1, 6)  # an entry is removed
    | st.builds(_Write, st.integers(0, 6), st.integers(1, 6), st.none() | st.integers(0, 400)),
    min_size=1,
    max_size=12,
)


@given(steps=_STEPS)
def test_reading_on_finds_what_reading_everything_finds(steps: list[str | int | _Write]) -> None:
    log, store = log_of([{"n": n} for n in range(3)])
    for step in steps:
        before = dict(store.contents)
        match step:
            case "append":
                with suppress(TamperedLog):
                    log.append(actor="a", account="b", action="c", facts={})
            case "read":
                log.read()
            case "remove the head":
                store.contents.pop(HEAD, None)
            case int():
                store.contents.pop(key(step), None)
            case _Write():
                data = bytearray(before.get(key(step.of), b"{}"))
                if step.flipped is not None:
                    data[step.flipped % len(data)] ^= 1
                store.contents[key(step.to)] = bytes(data)
        read_on = log.read()
        everything = log.verify()
        assert read_on == everything
        if step != "append" and not everything.intact:  # and mended it is believed again, though it was written anew
            for at in {*before, *store.contents}:
                if at in before:
                    store.contents[at] = before[at]
                else:
                    del store.contents[at]
            assert log.read() == log.verify()


def test_what_was_read_and_not_touched_is_not_read_again() -> None:
    log, store = log_of([{"n": n} for n in range(4)])
    first = log.read()
    store.given.clear()
    assert (log.read(), store.given) == (first, [HEAD])
    log.append(actor="a", account="b", action="c", facts={})
    store.contents[key(3)] = store.contents[key(3)]
    store.given.clear()
    assert log.read().intact
    assert store.given == [HEAD, key(3), key(4), key(5)]
    store.given.clear()
    assert log.verify().intact
    assert store.given == [HEAD, *map(key, range(1, 6))]


def test_what_was_written_just_now_is_read_again() -> None:
    log = AuditLog(store := MemoryStore(StandingClock().time), StandingClock())  # type: ignore[arg-type]  # as above
    log.append(actor="a", account="b", action="c", facts={})
    assert log.read().intact
    tag = store.contents.tags[key(1)]
    store.contents[key(1)] = store.contents[key(1)].replace(b'"b"', b'"d"')
    store.contents.tags[key(1)] = tag  # between two ticks of the store's clock
    assert not log.read().intact


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(entries=st.integers(1, 5), known=st.booleans(), data=st.data())
def test_no_single_byte_can_change_unseen(entries: int, *, known: bool, data: st.DataObject) -> None:
    log, store = log_of([{"reason": f"r{n}"} for n in range(entries)])
    assert not known or log.read().intact
    at = data.draw(st.sampled_from(sorted(store.contents)))
    content = bytearray(store.contents[at])
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    store.contents[at] = bytes(content)
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
    head = store.contents[HEAD]
    log.append(actor="a", account="b", action="c", facts={})
    store.contents[HEAD] = head
    assert log.read().intact
    log.append(actor="a", account="b", action="d", facts={})
    assert json.loads(store.contents[HEAD])["sequence"] == 3


def test_an_entry_is_bounded() -> None:
    log, store = log_of([])
    with pytest.raises(EntryTooLarge, match="shorter"):
        log.append(actor="a", account="b", action="c", facts={"reason": "x" * MOST_BYTES})
    assert store.contents == {}


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
    store.contents[key(40)] = bytes(MOST_BYTES + 1)
    cut(store, 20)
    assert log.read().breaks == (
        f"{key(40)} is larger than any entry", f"entry 20 is missing before {key(21)}",
        f"entry 40 is missing before {key(41)}",
    )  # fmt: skip
