# /// script
# requires-python = ">=3.10,<3.14"
# dependencies = ["ydata-profiling>=4.18,<5", "setuptools<81"]
# ///
"""The profile as users of ydata-profiling write it: read the CSV with pandas, one ProfileReport, HTML out.

    uv run --script ydata_profiling_peer.py LICENCES.csv PROFILE.html [--minimal]

It cannot be installed beside the platform, for it needs pandas 2: uv gives the script an environment of its own. The
last line of standard output is one JSON object with `seconds` from opening the file to the last byte of HTML, and the
figures both contestants have.
"""

import json
import resource
import sys
import time
import warnings
from pathlib import Path


def main(file: str, page: str, *, minimal: bool) -> None:
    import pandas as pd
    from ydata_profiling import ProfileReport

    started, cpu = time.perf_counter(), time.process_time()
    rows = pd.read_csv(file, sep=";", dtype={"LicenceRevisionNumber": str, "NumberofEmployees": str, "Unit": str})
    profile = ProfileReport(rows, minimal=minimal, progress_bar=False)
    profile.to_file(page, silent=True)
    table = profile.get_description().table
    facts = {
        "seconds": time.perf_counter() - started,
        "cpu": time.process_time() - cpu,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "rows": int(table["n"]),
        "missing_cells": int(table["n_cells_missing"]),
        "duplicate_rows": int(table.get("n_duplicates") or 0),
        "html_bytes": Path(page).stat().st_size,
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main(sys.argv[1], sys.argv[2], minimal="--minimal" in sys.argv)
