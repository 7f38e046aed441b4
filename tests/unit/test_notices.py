"""A notice is sent once, whoever tries again and whatever died in between."""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from city_platform.governance.notices import LEASE, Notice, Notices
from city_platform.local.store import LocalObjectStore
from city_platform.ports import NotifierUnavailable
from tests.town import StandingClock

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
