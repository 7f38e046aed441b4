"""How well traffic is forecast 15, 30 and 60 minutes ahead on real loop data.

    uv run python benchmarks/forecast.py --data ../shared/data/traffic

Peers, on the same forecasts: seasonal-naive (the value a week ago, a day ago where there was none) and persistence (the
value of now). A horizon holds if its mean absolute error is below seasonal-naive's and 80 to 95 % of outcomes lie in
its interval. Fails if any horizon of a series that can be forecast does not hold.
"""

import argparse
import csv
import sys
from pathlib import Path

import numpy as np

from city_platform.traffic.forecast import HORIZONS_MIN, MINUTE_S, Series, evaluate, model_card, regular

QUARTER, HOUR = 900, 3600
# File, columns of time and value, step in seconds, unit.
SERIES = (
    ("Metro_Interstate_Traffic_Volume", "date_time", "traffic_volume", HOUR, "vehicles an hour"),
    ("trafficData158324_v1", "TIMESTAMP", "vehicleCount", QUARTER, "vehicles in 5 min"),
    ("trafficData158324_v1", "TIMESTAMP", "avgSpeed", QUARTER, "km/h"),
    ("trafficData158324_v1", "TIMESTAMP", "avgMeasuredTime", QUARTER, "seconds of travel"),
    ("TravelTime_387", "timestamp", "value", QUARTER, "seconds of travel"),
    ("occupancy_6005", "timestamp", "value", QUARTER, "% occupancy"),
    ("speed_7578", "timestamp", "value", QUARTER, "mph"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/traffic"), help="the series' folder")
    parser.add_argument("--cards", action="store_true", help="print the model cards instead of one table")
    options = parser.parse_args()
    failed = False
    print(f"{'series':50}{'min':>4}{'MAE':>9}{'seasonal':>10}{'persist.':>10}{'less by':>9}{'covered':>9}  holds")
    for file, time, value, step, unit in SERIES:
        path = options.data / f"{file}.csv"
        name = f"{file} {value}"
        if not path.exists():
            print(f"{name:50} absent")
            continue
        series = read(path, time, value, step)
        scores = []
        for minutes in HORIZONS_MIN:
            if minutes * MINUTE_S % step:
                continue  # an hourly count says nothing of half an hour
            try:
                one = evaluate(series, minutes)
            except ValueError as refused:
                print(f"{name:50}{minutes:4} refused: {refused}")
                continue
            scores.append(one)
            failed |= not one.holds
            print(
                f"{name:50}{minutes:4}{one.mae:9.2f}{one.seasonal_naive_mae:10.2f}{one.persistence_mae:10.2f}"
                f"{one.skill:9.0%}{one.coverage:9.1%}  {'yes' if one.holds else 'NO'}"
            )
        if options.cards and scores:
            print("\n" + model_card(name, unit, scores))
    sys.exit(failed)


def read(path: Path, time: str, value: str, step_s: int) -> Series:
    with path.open(newline="") as lines:
        rows = csv.reader(lines)
        header = next(rows)
        at, of = header.index(time), header.index(value)
        cells = [(row[at].replace(" ", "T"), row[of]) for row in rows]
    times, values = zip(*cells, strict=True)
    return regular(np.array(times, dtype="M8[s]").astype(np.int64), np.array(values, dtype=np.float64), step_s)


if __name__ == "__main__":
    main()
