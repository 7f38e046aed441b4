"""How often the check of unusual days warns on quiet days of a large fleet, and what it finds.

    uv run python benchmarks/unusual_day.py

Simulated fleets (tests/traffic_fleets.py): Poisson counts about levels that vary by city, zone, day and three hours,
zones unlike each other, normally or with the heavier tails of Student's distribution with five degrees of freedom. The
peer is the detector of single series (`anomalies.Detector`) with "anything unusual in any zone", which the check was
before, on five-minute values of such zones. Fails where more than 3 % of quiet days are warned of.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from city_platform.traffic.anomalies import DAY_S, UNUSUAL, scores
from city_platform.traffic.unusual_day import BLOCK_S
from tests.traffic_fleets import HISTORY, Fleet

STEP_S = 300
MOST = 0.03


def halved(flow: np.ndarray) -> None:
    flow[7, -1, 4] *= 0.5


def ten_less_all_day(flow: np.ndarray) -> None:
    flow[20:30, -1] *= 0.8


def ten_less_for_three_hours(flow: np.ndarray) -> None:
    flow[20:30, -1, 4] *= 0.8


def all_less_all_day(flow: np.ndarray) -> None:
    flow[:, -1] *= 0.95


EVENTS = {
    "one zone, half of its flow, three hours": halved,
    "ten zones, 20 % less, a day": ten_less_all_day,
    "ten zones, 20 % less, three hours": ten_less_for_three_hours,
    "the whole city, 5 % less, a day": all_less_all_day,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zones", type=int, default=500)
    parser.add_argument("--days", type=int, default=200)
    parser.add_argument("--every", type=int, default=5, help="events are tried on every nth of the days")
    options = parser.parse_args()
    worst = 0.0
    for name, tails in (("normal", None), ("heavier tails", 5.0)):
        flow, beside = (Fleet.quiet(options.zones, HISTORY + options.days, seed, tails=tails) for seed in (1, 2))
        started = time.process_time()
        quiet = [bool(flow.judge(day, beside=beside).changes) for day in range(1, options.days + 1)]
        seconds = (time.process_time() - started) / options.days
        worst = max(worst, float(np.mean(quiet)))
        print(f"{name}: {sum(quiet)} of {options.days} quiet days, {seconds:.2f} s of CPU a day", flush=True)
        for event, change in EVENTS.items():
            found = [bool(flow.judge(day, change, beside).changes) for day in range(1, options.days + 1, options.every)]
            print(f"    {event}: found on {sum(found)} of {len(found)} days", flush=True)
        zones = single_series(flow, min(options.zones, 100))
        chance = 1 - (1 - zones) ** options.zones
        print(f"    single series: {zones:.1%} of zones a day, so on {chance:.1%} of days", flush=True)
    sys.exit(worst > MOST)


def single_series(fleet: Fleet, zones: int) -> float:
    """The share of zones in which the detector of single series finds anything on the last of 28 days."""
    draw = np.random.default_rng(3)
    times = np.arange(0, HISTORY * DAY_S, STEP_S)
    found = 0
    for flow in fleet.flow[:zones, :HISTORY]:
        values = draw.poisson(np.repeat(flow.ravel(), BLOCK_S // STEP_S) / 12) * 12.0
        found += bool((scores(times, values)[times >= (HISTORY - 1) * DAY_S] >= UNUSUAL).any())
    return found / zones


if __name__ == "__main__":
    main()
