"""The licence batch in plain pandas, the way its users write it: one table in memory, one step after the other.

    python benchmarks/peers/pandas_peer.py LICENCES.csv OUT_FOLDER

What it computes and prints is defined in benchmarks/README.md, the same for every peer.
"""

import json
import sys
import time
from pathlib import Path

import pandas as pd

KEY = ["LicenceRSN", "LicenceRevisionNumber"]
STATUSES = ["Issued", "Inactive", "Gone Out of Business", "Pending", "Cancelled"]


def read(file: Path) -> pd.DataFrame:
    """The portal's export, every column as text, empty cells as missing values."""
    return pd.read_csv(file, sep=";", dtype=str, encoding="utf-8-sig", keep_default_na=False, na_values=[""])


def clean(raw: pd.DataFrame) -> pd.DataFrame:
    """Trimmed, normalised and typed; the latest extract of each licence."""
    frame = raw.rename(columns={"FOLDERYEAR": "FileYear", "geo_point_2d": "GeoPoint2d"})
    for column in frame.columns:
        frame[column] = frame[column].str.replace(r"\s+", " ", regex=True).str.strip()
    frame["Province"] = frame["Province"].str.upper().replace({"BRITISH COLUMBIA": "BC"}).replace({"--": pd.NA})
    postal_code = frame["PostalCode"].str.upper().replace({"NOT APPLIC": pd.NA})
    frame["PostalCode"] = postal_code.str.replace(r"^([A-Z]\d[A-Z])(\d[A-Z]\d)$", r"\1 \2", regex=True)
    frame["UnitType"] = frame["UnitType"].replace({"Unti": "Unit", "Units": "Unit", "uNIT": "Unit"})
    frame["City"] = frame["City"].replace({"qBCVancouver": "Vancouver"})
    frame["LocalArea"] = frame["LocalArea"].str.replace(r"^\d{2}-", "", regex=True)

    year = pd.to_numeric(frame["FileYear"])
    frame["FileYear"] = year.where(year >= 80, year + 100) + 1900
    frame["LicenceRSN"] = pd.to_numeric(frame["LicenceRSN"])
    frame["IssuedDate"] = pd.to_datetime(frame["IssuedDate"], utc=True, errors="coerce")
    frame["ExtractDate"] = pd.to_datetime(frame["ExtractDate"], utc=True, errors="coerce")
    expired = pd.to_datetime(frame["ExpiredDate"], format="%Y-%m-%d", errors="coerce")
    frame["UntypedExpiry"] = frame["ExpiredDate"].notna() & expired.isna()
    frame["ExpiredDate"] = expired
    employees = frame["NumberofEmployees"].replace({"000": pd.NA})
    frame["NumberofEmployees"] = pd.to_numeric(employees, errors="coerce").astype("Int64")
    frame["FeePaid"] = pd.to_numeric(frame["FeePaid"], errors="coerce")
    return frame.sort_values("ExtractDate", kind="stable").drop_duplicates(KEY, keep="last").sort_index()


def failures(frame: pd.DataFrame) -> pd.DataFrame:
    """One column a rule, true where the row fails it. Missing values pass all rules but the first."""
    issued_on = frame["IssuedDate"].dt.tz_convert("America/Vancouver").dt.tz_localize(None).dt.normalize()
    return pd.DataFrame(
        {
            "status_present": frame["Status"].isna(),
            "status_known": frame["Status"].notna() & ~frame["Status"].isin(STATUSES),
            "fee_not_negative": frame["FeePaid"] < 0,
            "employees_plausible": ~frame["NumberofEmployees"].between(0, 20_000).fillna(True),
            "expires_after_issue": frame["UntypedExpiry"] | (frame["ExpiredDate"] < issued_on),
        }
    )


def summarise(passed: pd.DataFrame) -> pd.DataFrame:
    """Larger businesses by the local day on which their licence was issued."""
    larger = passed[(passed["NumberofEmployees"] > 15) & (passed["Status"] == "Issued")]
    issued_on = larger["IssuedDate"].dt.tz_convert("America/Vancouver").dt.date.rename("IssuedDay")
    return (
        larger.groupby(issued_on)
        .agg(LatestExpiry=("ExpiredDate", "max"), AverageFee=("FeePaid", "mean"), Licences=("LicenceRSN", "size"))
        .reset_index()
    )


def write_by_year(frame: pd.DataFrame, folder: Path) -> None:
    """One Parquet file a year, in Hive's layout."""
    for year, rows in frame.groupby("FileYear"):
        part = folder / f"year={year}" / "part.parquet"
        part.parent.mkdir(parents=True, exist_ok=True)
        rows.to_parquet(part, index=False)


def main(source: Path, out: Path) -> None:
    start = time.perf_counter()
    raw = read(source)
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
        "seconds": round(time.perf_counter() - start, 3),
        "passed": len(passed),
        "failed": len(failed),
        "duplicates": len(raw) - len(cleaned),
        "summary_rows": len(summary),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
