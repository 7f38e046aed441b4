"""A notice is sent once, whoever tries again and whatever died in between."""

import os
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from city_platform.contracts.partitions import Granularity
from city_platform.datasets import load_datasets
from city_platform.governance.notices import LEASE, Notice, Notices
from city_platform.layers import failures, metrics
from city_platform.local.event_bus import SqliteEventBus
from city_platform.local.platform import local_platform
from city_platform.local.store import LocalObjectStore
from city_platform.ports import NotifierUnavailable, ObjectExists
from tests.town import FIXTURES, StandingClock

NOTICE = Notice("trees 2024 v1", "trees 2024: the gate is closed", "why")


@dataclass
class Listener:
    """Takes down what it is told, unless something happens to it."""

    heard: list[str] = field(default_factory=list)
    mishap: BaseException | None = None

    def notify(self, subject: str, body: str) -> None:
        if self.mishap is not None:
            raise self.mishap
        self.heard.append(f"{subject}\n{body}")


def test_each_notice_is_sent_once(tmp_path: Path) -> None:
    listener, clock = Listener(), StandingClock()
    notices = Notices(LocalObjectStore(tmp_path), listener, clock)
    assert notices.send(NOTICE)
    clock.time += timedelta(days=400)
    again = Notices(LocalObjectStore(tmp_path), listener, clock)
    assert not again.send(NOTICE)
    assert not again.send(Notice(NOTICE.identity, "other words", "for the same"))
    assert again.send(Notice("trees 2024 v2", NOTICE.subject, NOTICE.body))
    assert len(listener.heard) == 2


def test_what_could_not_be_sent_is_sent_the_next_time(tmp_path: Path) -> None:
    listener = Listener(mishap=NotifierUnavailable("no network"))
    notices = Notices(LocalObjectStore(tmp_path), listener, StandingClock())
    with pytest.raises(NotifierUnavailable):
        notices.send(NOTICE)
    listener.mishap = None
    assert notices.send(NOTICE)
    assert not notices.send(NOTICE)


def test_the_claim_of_a_process_that_died_is_taken_over_after_its_lease(tmp_path: Path) -> None:
    store, clock, listener = LocalObjectStore(tmp_path), StandingClock(), Listener()
    with pytest.raises(KeyboardInterrupt):
        Notices(store, Listener(mishap=KeyboardInterrupt()), clock).send(NOTICE)
    notices = Notices(store, listener, clock)
    clock.time += LEASE
    assert not notices.send(NOTICE)  # its sender may still be at it
    clock.time += timedelta(seconds=1)
    assert notices.send(NOTICE)
    clock.time += 2 * LEASE
    assert not notices.send(NOTICE)
    assert len(listener.heard) == 1


@pytest.mark.parametrize("claim", [b"", b"{", b"[]", b'{"state": "claimed"}', b'{"state": "claimed", "at": "soon"}'])
def test_a_damaged_claim_keeps_no_notice_back(tmp_path: Path, claim: bytes) -> None:
    store, listener = LocalObjectStore(tmp_path), Listener()
    notices = Notices(store, listener, StandingClock())
    notices.send(NOTICE)
    (key,) = store.keys("notices/")
    store.put(key, claim)
    assert notices.send(NOTICE)
    assert not notices.send(NOTICE)


def test_a_claim_of_a_clock_that_was_ahead_is_taken_over(tmp_path: Path) -> None:
    store, clock, listener = LocalObjectStore(tmp_path), StandingClock(), Listener()
    clock.time += timedelta(days=3650)
    with pytest.raises(KeyboardInterrupt):
        Notices(store, Listener(mishap=KeyboardInterrupt()), clock).send(NOTICE)
    clock.time -= timedelta(days=3650)
    assert Notices(store, listener, clock).send(NOTICE)


def test_a_claim_that_was_given_back_just_now_is_left_for_the_next_look(tmp_path: Path) -> None:
    class GivenBack(LocalObjectStore):
        def put(self, key: str, data: bytes, *, create_only: bool = False) -> None:
            if create_only:
                raise ObjectExists(key)
            super().put(key, data)

    assert not Notices(GivenBack(tmp_path), Listener(), StandingClock()).send(NOTICE)


@pytest.mark.parametrize(
    ("everything", "looked_at"), [(False, ["2021", "2023", "2024"]), (True, ["2021", "2022", "2023", "2024"])]
)
def test_a_look_every_minute_is_a_bounded_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, everything: bool, looked_at: list[str]
) -> None:
    platform, (trees,) = local_platform(tmp_path), load_datasets(FIXTURES)
    for year in ("2021", "2022", "2023", "2024"):
        key = f"manifests/quality_checked/trees/{year}/0000000001.json"
        platform.lake.store.put(key, b"{}")
        if year != "2021":  # which was judged again just now
            os.utime(platform.lake.store.local_path(key), (0, 0))
    asked: list[str] = []
    monkeypatch.setattr(failures, "gate", lambda _platform, _dataset, partition, _decisions: asked.append(partition))
    monkeypatch.setattr(metrics, "NEWEST", {Granularity.YEAR: 2})
    bus = SqliteEventBus(tmp_path / "events.sqlite", platform.clock)
    assert failures.tell(platform, bus, [trees], 10, everything=everything) == 0
    assert asked == looked_at
