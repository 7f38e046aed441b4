"""An era of parking tickets from the portal to the summary, as one plain DuckDB script.

    python benchmarks/peers/tickets_duckdb_peer.py EXPORT_URL OUT_FOLDER

What it computes and prints is defined in benchmarks/README.md, the same for every peer.
"""

import json
import sys
import time
import urllib.request
from pathlib import Path

import duckdb

TIDY = "nullif(trim(regexp_replace({0}, '\\s+', ' ', 'g')), '')"
TEXTS = ("Street", "Section")
NUMBERS = {"Block": "INTEGER", "Bylaw": "INTEGER", "Year": "INTEGER", "BI_ID": "BIGINT"}
RULES = {
    "bylaw_present": "Bylaw IS NULL",
    "section_present": "Section IS NULL",
    "street_present": "Street IS NULL",
    "status_known": "Status NOT IN ('IS', 'VA', 'VS', 'WR', 'R')",
    "entry_not_in_future": "EntryDate > current_date + 1",
    "entry_date_plausible": "EntryDate <= DATE '1989-12-31'",
    "block_plausible": "Block NOT BETWEEN 0 AND 9999",
    "year_agrees": "Year <> year(EntryDate)",
}
CLEANED = f"""
CREATE TABLE cleaned AS
SELECT
    {", ".join(f"{TIDY.format(name)} AS {name}" for name in TEXTS)},
    TRY_CAST({TIDY.format("EntryDate")} AS DATE) AS EntryDate,
    CASE upper({TIDY.format("Status")}) WHEN 'I' THEN 'IS' WHEN 'W' THEN 'WR' WHEN 'V' THEN 'VA'
        ELSE upper({TIDY.format("Status")}) END AS Status,
    nullif(rtrim({TIDY.format("InfractionText")}, '. '), '') AS InfractionText,
    {", ".join(f"TRY_CAST({TIDY.format(name)} AS {kind}) AS {name}" for name, kind in NUMBERS.items())}
FROM read_csv('{{file}}', delim = ';', header = true, all_varchar = true)
"""
FAILED_RULES = ", ".join(f"CASE WHEN {fails} THEN '{rule}' END" for rule, fails in RULES.items())
SUMMARY = """
CREATE TABLE summary AS
WITH texts AS (
    SELECT year(EntryDate) AS EntryYear, Bylaw, Section, InfractionText, count(*) AS Uses
    FROM passed WHERE InfractionText IS NOT NULL GROUP BY 1, 2, 3, 4
    QUALIFY row_number() OVER (PARTITION BY EntryYear, Bylaw, Section ORDER BY Uses DESC, InfractionText) = 1
)
SELECT days.*, texts.InfractionText
FROM (SELECT EntryDate, Bylaw, Section, Status, count(*) AS Tickets FROM passed GROUP BY ALL) AS days
LEFT JOIN texts ON texts.EntryYear = year(days.EntryDate)
    AND texts.Bylaw = days.Bylaw AND texts.Section = days.Section
ORDER BY ALL
"""


def main(url: str, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter(), time.process_time()
    file = out / "tickets.csv"
    urllib.request.urlretrieve(url, file)  # noqa: S310 -- the address comes from the caller
    connection = duckdb.connect(str(out / "work.duckdb"))

    def run(sql: str) -> None:
        connection.execute(sql)

    def count(table: str) -> int:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0])

    def write(table: str) -> None:
        run(
            f"COPY (SELECT *, year(EntryDate) AS year FROM {table}) TO '{out / table}' "
            "(FORMAT parquet, PARTITION_BY (year))"
        )

    run(CLEANED.format(file=file))
    rows = count("cleaned")
    run(
        "DELETE FROM cleaned WHERE BI_ID IS NOT NULL AND rowid NOT IN "
        "(SELECT max(rowid) FROM cleaned WHERE BI_ID IS NOT NULL GROUP BY BI_ID)"
    )
    write("cleaned")
    run(
        "CREATE TABLE checked AS SELECT *, list_filter([" + FAILED_RULES + "], lambda x: x IS NOT NULL) AS FailedRules "
        "FROM cleaned"
    )
    run("CREATE VIEW passed AS SELECT * EXCLUDE FailedRules FROM checked WHERE len(FailedRules) = 0")
    run("CREATE VIEW failed AS SELECT * FROM checked WHERE len(FailedRules) > 0")
    write("passed")
    write("failed")
    run(SUMMARY)
    run(f"COPY summary TO '{out / 'summary.parquet'}' (FORMAT parquet)")
    run(f"COPY summary TO '{out / 'summary.csv'}' (HEADER)")
    result = {
        "rows": rows,
        "seconds": round(time.perf_counter() - start[0], 3),
        "cpu": round(time.process_time() - start[1], 3),
        "passed": count("passed"),
        "failed": count("failed"),
        "summary_rows": count("summary"),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
