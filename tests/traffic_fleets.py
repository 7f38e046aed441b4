"""Simulated fleets of zones over many days, for what judges whole days."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from city_platform.traffic.anomalies import DAY_S
from city_platform.traffic.unusual_day import BLOCK_S, BLOCKS, Days, Judgement

HISTORY = 28
PROFILE = np.array([0.15, 0.2, 0.9, 1.2, 1.1, 1.3, 0.9, 0.4])


@dataclass
class Fleet:
    """Mean flows (zones, days, blocks): Poisson counts about levels that vary by city, zone, day and block."""

    flow: np.ndarray

    @classmethod
    def quiet(cls, zones: int, days: int, seed: int, city: float = 0.005, tails: float | None = None) -> "Fleet":
        draw = np.random.default_rng(seed)

        def noise(scale: float, *shape: int) -> np.ndarray:
            if tails is None:
                return scale * draw.normal(0, 1, shape)
            return scale * draw.standard_t(tails, shape) / np.sqrt(tails / (tails - 2))

        spread = np.exp(draw.normal(0, 0.4, (zones, 1, 1)))  # some zones are calm, some are not
        changes = noise(city, 1, days, 1) + spread * (noise(0.03, zones, days, 1) + noise(0.03, zones, days, BLOCKS))
        weekend = np.where((np.arange(days) + 3) % 7 >= 5, 0.75, 1.0)[:, None]
        level = np.exp(draw.normal(np.log(600), 0.8, (zones, 1, 1)))
        return cls(draw.poisson(3 * level * PROFILE * weekend * np.exp(changes)) / 3.0)

    def judge(
        self,
        first: int = 0,
        change: Callable[[np.ndarray], None] = lambda _: None,
        beside: "Fleet | None" = None,
    ) -> Judgement:
        """The last of HISTORY days from the first one on, its flow changed; `beside` is another measure."""
        flow = self.flow[:, first : first + HISTORY].copy()
        change(flow)
        days = Days(first * DAY_S, (first + HISTORY) * DAY_S - BLOCK_S, BLOCK_S)
        times = np.arange(first * DAY_S, (first + HISTORY) * DAY_S, BLOCK_S)
        for zone, values in enumerate(flow):
            measures = {"flow": values.ravel()}
            if beside is not None:
                measures["beside"] = beside.flow[zone, first : first + HISTORY].ravel()
            days.add(f"z-{zone:03d}", times, measures)
        return days.judge()
