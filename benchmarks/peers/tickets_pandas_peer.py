"""An era of parking tickets from the portal to the summary, in plain pandas as its users write it.

    python benchmarks/peers/tickets_pandas_peer.py EXPORT_URL OUT_FOLDER

What it computes and prints is defined in benchmarks/README.md, the same for every peer.
"""

import json
import sys
import time
from pathlib import Path

import pandas as pd

STATUSES = ["IS", "VA", "VS", "WR", "R"]
GROUP = ["EntryDate", "Bylaw", "Section", "Status"]


def clean(raw: pd.DataFrame) -> pd.DataFrame:
    """Trimmed, normalised and typed; the last row of each ticket."""
    frame = raw.copy()
    for column in frame.columns:
        frame[column] = frame[column].str.replace(r"\s+", " ", regex=True).str.strip()
    frame["Status"] = frame["Status"].str.upper().replace({"I": "IS", "W": "WR", "V": "VA"})
    frame["InfractionText"] = frame["InfractionText"].str.rstrip(". ").replace({"": pd.NA})
    frame["EntryDate"] = pd.to_datetime(frame["EntryDate"], format="%Y-%m-%d", errors="coerce")
    for column in ("Block", "Bylaw", "Year", "BI_ID"):
        frame[column] = pd.to_numeric(frame[column], errors="coerce").astype("Int64")
    keyed = frame["BI_ID"].notna()
    return frame[~(keyed & frame.duplicated("BI_ID", keep="last"))]


def failures(frame: pd.DataFrame) -> pd.DataFrame:
    """One column a rule, true where the row fails it. Missing values pass all rules but the first three."""
    date = frame["EntryDate"]
    return pd.DataFrame(
        {
            "bylaw_present": frame["Bylaw"].isna(),
            "section_present": frame["Section"].isna(),
            "street_present": frame["Street"].isna(),
            "status_known": frame["Status"].notna() & ~frame["Status"].isin(STATUSES),
            "entry_not_in_future": date > pd.Timestamp.now() + pd.Timedelta(days=1),
            "entry_date_plausible": date <= pd.Timestamp("1989-12-31"),
            "block_plausible": ~frame["Block"].between(0, 9999).fillna(True),
            "year_agrees": (frame["Year"] != date.dt.year).fillna(False),
        }
    )


def summarise(passed: pd.DataFrame) -> pd.DataFrame:
    """Tickets a day, offence and status, with the text used most often for the offence in the year."""
    year = passed["EntryDate"].dt.year.rename("EntryYear")
    texts = passed.groupby([year, "Bylaw", "Section", "InfractionText"]).size().rename("Uses").reset_index()
    texts = texts.sort_values(["Uses", "InfractionText"], ascending=[False, True])
    texts = texts.drop_duplicates(["EntryYear", "Bylaw", "Section"]).drop(columns="Uses")
    summary = passed.groupby(GROUP, dropna=False).size().rename("Tickets").reset_index()
    summary["EntryYear"] = summary["EntryDate"].dt.year
    return summary.merge(texts, how="left", on=["EntryYear", "Bylaw", "Section"]).sort_values(GROUP)


def write_by_year(frame: pd.DataFrame, folder: Path) -> None:
    """One Parquet file a year, in Hive's layout."""
    for year, rows in frame.groupby(frame["EntryDate"].dt.year):
        part = folder / f"year={year}" / "part.parquet"
        part.parent.mkdir(parents=True, exist_ok=True)
        rows.to_parquet(part, index=False)


def main(url: str, out: Path) -> None:
    start = time.perf_counter(), time.process_time()
    raw = pd.read_csv(url, sep=";", dtype=str, encoding="utf-8-sig", keep_default_na=False, na_values=[""])
    cleaned = clean(raw)
    write_by_year(cleaned, out / "cleaned")

    failed_by = failures(cleaned)
    wrong = failed_by.any(axis="columns")
    passed = cleaned[~wrong]
    reasons = failed_by[wrong].apply(lambda row: [rule for rule, fails in row.items() if fails], axis="columns")
    failed = cleaned[wrong].assign(FailedRules=reasons)
    write_by_year(passed, out / "passed")
    write_by_year(failed, out / "failed")

    summary = summarise(passed)
    curated = out / "curated"
    curated.mkdir(parents=True, exist_ok=True)
    summary.to_parquet(curated / "summary.parquet", index=False)
    summary.to_csv(curated / "summary.csv", index=False)
    result = {
        "rows": len(raw),
        "seconds": round(time.perf_counter() - start[0], 3),
        "cpu": round(time.process_time() - start[1], 3),
        "passed": len(passed),
        "failed": len(failed),
        "summary_rows": len(summary),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
