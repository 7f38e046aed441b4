"""Many clients at once, kills in the middle, and the fuzzer's long run."""

import asyncio
import random
from pathlib import Path

import httpx2

from tests.api import town
from tests.patience import PATIENCE_S
from tests.served import Told, report_from_many, served


async def _read(address: str, ids: list[str]) -> list[int]:
    async with httpx2.AsyncClient(
        base_url=address, limits=httpx2.Limits(max_connections=32), timeout=PATIENCE_S
    ) as http:
        answers = await asyncio.gather(*(http.get(f"/v1/incidents/{one}") for one in ids))
    return [one.status_code for one in answers]


def test_two_thousand_clients_at_once_and_every_accepted_report_can_be_read(tmp_path: Path) -> None:
    told = Told()
    with served(tmp_path / "home") as api:
        asyncio.run(report_from_many(api.address, clients=2000, each=3, told=told))
        assert (len(told.accepted), told.other, told.cut_off) == (6000, [], 0)
        assert set(asyncio.run(_read(api.address, list(told.accepted)))) == {200}
        stats = httpx2.get(f"{api.address}/v1/stats", timeout=PATIENCE_S).json()
        assert stats["total"] == 6000


def test_killed_again_and_again_it_loses_nothing_and_starts_again(tmp_path: Path) -> None:
    told, chance = Told(), random.Random(3)  # noqa: S311 -- the same kills every time
    for round_ in range(5):
        with served(tmp_path / "home") as api:
            known = list(told.accepted)
            assert set(asyncio.run(_read(api.address, known))) <= {200}
            wanted = len(known) + chance.randrange(50, 400)

            async def drill(address: str = api.address, wanted: int = wanted, seed: int = round_) -> None:
                reporting = asyncio.create_task(report_from_many(address, clients=64, each=60, told=told, seed=seed))
                while len(told.accepted) < wanted and not reporting.done():
                    await asyncio.sleep(0.005)
                api.kill()
                await reporting

            asyncio.run(drill())
    with served(tmp_path / "home") as api:
        assert set(asyncio.run(_read(api.address, list(told.accepted)))) == {200}
        total = httpx2.get(f"{api.address}/v1/stats", timeout=PATIENCE_S).json()["total"]
        assert total >= len(told.accepted)


def test_the_fuzzer_finds_nothing_in_a_long_run(tmp_path: Path) -> None:
    from tests.api_fuzz import fuzz  # the fuzzer is seconds of imports, for whoever runs this test

    assert fuzz(town(tmp_path), examples=300) > 1000
