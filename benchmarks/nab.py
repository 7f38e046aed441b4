"""How well unusual traffic is found: the real traffic series of the Numenta Anomaly Benchmark.

    uv run python benchmarks/nab.py --data ../shared/data/traffic

Settings and threshold of each series are those that did best on the other series; the benchmark's published scores
come from one threshold fitted to all series it scores. The peer is its `windowedGaussian`, rewritten here (distance
from the mean of the last 1,000 values in standard deviations) and judged by the same rules on the same series. Fails
below a score of 75.
"""

import argparse
import csv
import itertools
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from city_platform.traffic.anomalies import HOUR_S, Settings, scores
from city_platform.traffic.nab import PROFILES, Floats, Labelled, corpus_score, leave_one_out

SERIES = (
    "TravelTime_387", "TravelTime_451", "occupancy_6005", "occupancy_t4013", "speed_6005", "speed_7578", "speed_t4013",
)  # fmt: skip
PUBLISHED = "published, all seven series, threshold fitted to them: windowedGaussian 75.3, numenta 77.7, ARTime 81.1"
GATE, STRETCH = 75.0, 80.0
OFFERED = [
    Settings(prior=prior, quantile=quantile, hold_s=hours * HOUR_S, logarithmic=logarithmic)
    for prior, quantile, logarithmic, hours in itertools.product(
        (5.0, 10.0, 20.0, 40.0), (0.95, 0.99), (True, False), (6, 12)
    )
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/traffic"), help="series and combined_windows")
    options = parser.parse_args()
    corpus = read(options.data)
    absent = [name for name in SERIES if name not in corpus]
    print(f"present: {', '.join(corpus)}\nabsent:  {', '.join(absent) or 'none'}\n{PUBLISHED}\n")
    started = time.process_time()
    candidates = {
        name_of(settings): {name: scores(one.times_s, one.values, settings) for name, one in corpus.items()}
        for settings in OFFERED
    }
    readings = sum(len(one.values) for one in corpus.values()) * len(OFFERED)
    print(f"{len(OFFERED)} settings, {readings / (time.process_time() - started):,.0f} readings/s of CPU")
    peer = {"1000": {name: windowed_gaussian(one.values) for name, one in corpus.items()}}
    print(f"\n{'profile':20}{'city_platform':>15}{'windowedGaussian':>18}")
    for name, profile in PROFILES.items():
        own, other = (corpus_score(leave_one_out(corpus, one, profile), profile) for one in (candidates, peer))
        print(f"{name:20}{own:15.1f}{other:18.1f}")
    standard = PROFILES["standard"]
    judged = leave_one_out(corpus, candidates, standard)
    print(f"\n{'standard profile':20}{'score':>8}{'found':>8}{'alarms':>8}{'threshold':>11}  settings")
    for name, one in judged.items():
        found = f"{one.found}/{one.windows}"
        print(f"{name:20}{one.score(standard):8.1f}{found:>8}{one.alarms:8}{one.threshold:11.2f}  {one.candidate}")
    alone = sorted(
        corpus_score(leave_one_out(corpus, {key: one}, standard), standard) for key, one in candidates.items()
    )
    print(
        f"\neach of the {len(alone)} settings for itself, thresholds from the others: worst {alone[0]:.1f}, "
        f"median {alone[len(alone) // 2]:.1f}, best {alone[-1]:.1f}"
    )
    score = corpus_score(judged, standard)
    print(f"score {score:.1f}; gate {GATE:.0f} {'holds' if score >= GATE else 'FAILS'}, stretch {STRETCH:.0f} "
          f"{'reached' if score >= STRETCH else 'not reached'}")  # fmt: skip
    sys.exit(score < GATE)


def read(folder: Path) -> Mapping[str, Labelled]:
    """The benchmark's series that are in the folder, with their labels."""
    labels = json.loads((folder / "combined_windows.json").read_text())
    corpus = {}
    for name in SERIES:
        file = folder / f"{name}.csv"
        if not file.exists():
            continue
        with file.open(newline="") as lines:
            rows = list(csv.DictReader(lines))
        windows = [(seconds(start), seconds(end)) for start, end in labels[f"realTraffic/{name}.csv"]]
        times = np.array([seconds(row["timestamp"]) for row in rows], dtype=np.int64)
        corpus[name] = Labelled(times, np.array([float(row["value"]) for row in rows]), windows)
    return corpus


def seconds(text: str) -> int:
    """A local time of the benchmark as seconds since 1970 on the same clock."""
    return int(np.datetime64(text[:19].replace(" ", "T"), "s").astype(np.int64))


def name_of(settings: Settings) -> str:
    scale = "ln" if settings.logarithmic else "as is"
    return f"prior {settings.prior:.0f}, quantile {settings.quantile}, {scale}, hold {settings.hold_s // HOUR_S} h"


def windowed_gaussian(values: Floats, window: int = 1000) -> Floats:
    """The peer's score; its tail probability is a function of this distance, so thresholds separate the same points."""
    distances = np.zeros(len(values))
    for index in range(1, len(values)):
        past = values[max(0, index - window) : index]
        distances[index] = abs(values[index] - past.mean()) / (past.std() or 1e-6)
    return distances


if __name__ == "__main__":
    main()
