"""The licence batch in plain pandas, the way its users write it: one table in memory, one step after the other.

    python benchmarks/peers/pandas_peer.py LICENCES.csv OUT_FOLDER

What it computes and prints is defined in benchmarks/README.md, the same for every peer and for the platform.
"""

import hashlib
import json
import shutil
import sys
import time
from pathlib import Path

import pandas as pd

KEY = ["LicenceRSN", "LicenceRevisionNumber"]
STATUSES = ["Issued", "Inactive", "Gone Out of Business", "Pending", "Cancelled"]
AS_THEY_ARE = ["LicenceRSN", "IssuedDate", "Geom", "geo_point_2d"]  # columns whose white space nobody minds


def keep(file: Path, folder: Path) -> str:
    """The source's bytes, untouched, and their SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    copy = shutil.copyfile(file, folder / file.name)
    with copy.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read(file: Path) -> pd.DataFrame:
    """The portal's export, every column as text, empty cells as missing values; rows are numbered."""
    frame = pd.read_csv(file, sep=";", dtype=str, encoding="utf-8-sig", keep_default_na=False, na_values=[""])
    return frame.assign(row=range(len(frame)))


def clean(raw: pd.DataFrame) -> pd.DataFrame:
    """Trimmed and normalised texts under their new names."""
    frame = raw.copy()
    for column in frame.columns.drop([*AS_THEY_ARE, "row"]):
        frame[column] = frame[column].str.replace(r"\s+", " ", regex=True).str.strip()
    frame = frame.rename(columns={"FOLDERYEAR": "FileYear", "geo_point_2d": "GeoPoint2d"})
    frame["FileYear"] = (
        frame["FileYear"]
        .str.replace(r"^([0-7][0-9])$", r"20\1", regex=True)
        .str.replace(r"^([89][0-9])$", r"19\1", regex=True)
    )
    frame["UnitType"] = frame["UnitType"].replace(dict.fromkeys(["Unti", "Units", "uNIT", "UNIT", "unit"], "Unit"))
    frame["City"] = frame["City"].replace({"qBCVancouver": "Vancouver"})
    province = frame["Province"].str.upper().replace(dict.fromkeys(["BRITISH COLUMBIA", "B.C.", "BC.", "B C"], "BC"))
    frame["Province"] = province.replace({"--": pd.NA})
    country = frame["Country"].str.upper().replace({"CAN": "CA", "CANADA": "CA"})
    frame["Country"] = country.replace({"USA": "US", "UNITED STATES": "US"})
    postal_code = frame["PostalCode"].str.upper().replace({"NOT APPLIC": pd.NA})
    frame["PostalCode"] = postal_code.str.replace(r"^([A-Z]\d[A-Z])(\d[A-Z]\d)$", r"\1 \2", regex=True)
    area = frame["LocalArea"].str.replace(r"^\d{2}-(.+)$", r"\1", regex=True)
    frame["LocalArea"] = area.replace({"Central Business/Downtown": "Downtown", "Arbutus-Ridge": "Arbutus Ridge"})
    frame["Geom"] = frame["Geom"].str.replace(
        r"^\{'type': 'Feature', 'geometry': \{'coordinates': \[([-0-9.eE, ]+)\], 'type': '([A-Za-z]+)'\}, "
        r"'properties': \{\}\}$",
        r'{"coordinates": [\1], "type": "\2"}',
        regex=True,
    )
    frame["GeoPoint2d"] = (
        frame["GeoPoint2d"]
        .str.replace(r"^\{'lon': ([-0-9.eE]+), 'lat': ([-0-9.eE]+)\}$", r"\2, \1", regex=True)
        .str.replace(r"^\{'lat': ([-0-9.eE]+), 'lon': ([-0-9.eE]+)\}$", r"\1, \2", regex=True)
    )
    frame["NumberofEmployees"] = frame["NumberofEmployees"].replace({"000": pd.NA})
    return frame


def type_columns(texts: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The typed rows, and a row for each value that could not be typed."""
    typed = texts.assign(
        FileYear=pd.to_numeric(texts["FileYear"], errors="coerce").astype("Int64"),
        LicenceRSN=pd.to_numeric(texts["LicenceRSN"], errors="coerce").astype("Int64"),
        IssuedDate=pd.to_datetime(texts["IssuedDate"], utc=True, errors="coerce"),
        ExpiredDate=pd.to_datetime(texts["ExpiredDate"], format="%Y-%m-%d", errors="coerce"),
        NumberofEmployees=pd.to_numeric(texts["NumberofEmployees"], errors="coerce").astype("Int64"),
        FeePaid=pd.to_numeric(texts["FeePaid"], errors="coerce"),
        ExtractDate=pd.to_datetime(texts["ExtractDate"], utc=True, errors="coerce"),
    )
    untyped = []
    for column in (
        "FileYear",
        "LicenceRSN",
        "IssuedDate",
        "ExpiredDate",
        "NumberofEmployees",
        "FeePaid",
        "ExtractDate",
    ):
        wrong = texts[column].notna() & typed[column].isna()
        values = texts.loc[wrong, ["row", column]].rename(columns={column: "value"})
        untyped.append(values.assign(column=column, reason=f"not a valid {typed[column].dtype}"))
    return typed, pd.concat(untyped)


def latest(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The latest extract of each licence, and the rows it supersedes."""
    by_extract = frame.sort_values("ExtractDate", kind="stable")
    older = by_extract.duplicated(KEY, keep="last").sort_index()
    return frame[~older], frame[older]


def failures(frame: pd.DataFrame) -> pd.DataFrame:
    """One column a rule that holds rows back, true where the row fails it."""
    status, employees, fee = frame["Status"], frame["NumberofEmployees"], frame["FeePaid"]
    issued, expired = frame["IssuedDate"], frame["ExpiredDate"]
    day_of_issue = (issued - pd.Timedelta(hours=8)).dt.tz_localize(None).dt.normalize()
    return pd.DataFrame(
        {
            "licence_key": frame[KEY].isna().any(axis="columns") | frame.duplicated(KEY, keep=False),
            "status_present": status.isna(),
            "status_known": status.notna() & ~status.isin(STATUSES),
            "licence_number_form": ~frame["LicenceNumber"].str.fullmatch(r"[0-9]{2}-[0-9]{6}").fillna(False),
            "file_year_plausible": ~frame["FileYear"].between(1991, 2100).fillna(False),
            "fee_not_negative": fee < 0,
            "employees_plausible": ~employees.between(0, 49_999).fillna(True),
            "expired_date_plausible": (expired <= pd.Timestamp(1989, 12, 31)) | (expired >= pd.Timestamp(2101, 1, 1)),
            "expires_after_issue": expired < day_of_issue,
            "issued_not_in_future": issued > pd.Timestamp.now("UTC") + pd.Timedelta(days=1),
        }
    ).astype(bool)


def outcomes(frame: pd.DataFrame, failed_by: pd.DataFrame) -> pd.DataFrame:
    """For each year what every rule found, those on the year as a whole and those that only warn included."""
    now = pd.Timestamp.now("UTC")
    rows = []
    for year, part in frame.groupby("FileYear"):
        own = failed_by.loc[part.index]
        employees = part["NumberofEmployees"].dropna()
        province, postal_code = part["Province"].dropna(), part["PostalCode"].dropna()
        once = (employees.value_counts() == 1).sum()
        figures = {
            "row_count": len(part),
            "completeness_status": part["Status"].notna().mean(),
            "province_form": province.str.fullmatch("[A-Z]{2}").mean(),
            "postal_code_form": postal_code.str.fullmatch("[A-Z][0-9][A-Z] [0-9][A-Z][0-9]").mean(),
            "local_area_present": part["LocalArea"].notna().mean() if year >= 2024 else None,
            "employees_not_an_identifier": once / len(employees) if len(employees) else None,
            "issued_recently": (part["IssuedDate"] > now - pd.Timedelta(days=30)).mean() if year == now.year else None,
            "source: uniqueness": once / len(part),
            "source: freshness": (part["IssuedDate"] < now - pd.Timedelta(days=30)).mean(),
            **own.mean(),
        }
        rows.extend({"year": year, "rule": rule, "figure": figure} for rule, figure in figures.items())
    return pd.DataFrame(rows)


def summarise(passed: pd.DataFrame) -> pd.DataFrame:
    """Larger businesses by the local day on which their licence was issued."""
    larger = passed[(passed["NumberofEmployees"] > 15) & (passed["Status"] == "Issued")]
    issued = larger["IssuedDate"].dt.tz_convert("America/Vancouver")
    keys = [larger["FileYear"], issued.dt.date.rename("IssuedDay")]
    return (
        larger.assign(LastIssued=issued)
        .groupby(keys)
        .agg(
            LastIssued=("LastIssued", "max"),
            LatestExpiry=("ExpiredDate", "max"),
            AverageFee=("FeePaid", "mean"),
            Licences=("LicenceRSN", "size"),
            WithFee=("FeePaid", "count"),
        )
        .reset_index()
    )


def write_by_year(frame: pd.DataFrame, folder: Path, year: str = "FileYear") -> None:
    """One Parquet file a year, in Hive's layout."""
    for value, rows in frame.groupby(year):
        part = folder / f"year={value}" / "part.parquet"
        part.parent.mkdir(parents=True, exist_ok=True)
        rows.to_parquet(part, index=False)


def main(source: Path, out: Path) -> None:
    start = time.perf_counter()
    keep(source, out / "raw")
    raw = read(source)
    typed, untyped = type_columns(clean(raw))
    cleaned, superseded = latest(typed)
    write_by_year(cleaned, out / "cleaned")
    write_by_year(superseded, out / "superseded")

    failed_by = failures(cleaned)
    outcomes(cleaned, failed_by).to_json(out / "outcomes.json", orient="records")
    wrong = failed_by.any(axis="columns")
    passed = cleaned[~wrong]
    reasons = failed_by[wrong].apply(lambda row: [rule for rule, fails in row.items() if fails], axis="columns")
    failed = cleaned[wrong].assign(FailedRules=reasons)
    write_by_year(passed, out / "passed")
    write_by_year(failed, out / "failed")
    held_back = [
        untyped[["row", "column", "reason"]],
        superseded[["row"]].assign(column=None, reason="a newer row has the same key"),
        failed[["row", "FailedRules"]].explode("FailedRules").rename(columns={"FailedRules": "column"}),
    ]
    register = pd.concat(held_back).sort_values("row")
    register.to_parquet(out / "register.parquet", index=False)

    summary = summarise(passed)
    write_by_year(summary, out / "curated")
    summary.to_csv(out / "curated" / "summary.csv", index=False)
    result = {
        "rows": len(raw),
        "seconds": round(time.perf_counter() - start, 3),
        "passed": len(passed),
        "failed": len(failed),
        "duplicates": len(superseded),
        "untyped": len(untyped),
        "register": len(register),
        "summary_rows": len(summary),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
