"""DataBrew's step types that have no place in a dataset's recipe, and what to do instead.

A recipe makes the cleaned layer, which keeps one row for each row of the source: rows in = rows out + rows removed,
and the same source always gives the same bytes. What cannot keep that promise is refused when the recipe is read.
"""

from collections.abc import Mapping

_SUMMARY = "it makes other rows of the rows, so that no row could be followed any more", "write it in curated.sql"
_JOB = _SUMMARY[0], "write it in curated.sql, or run it on a file with `city-platform recipes apply`"
_OTHER_ROWS = "it brings in rows of another dataset", "read both datasets in a summary of their own"
_VARIES = "it gives another value at each run", "the same source must give the same bytes: leave it out"
_NESTED = "the layers' columns are plain values, not lists or maps", "use SPLIT_COLUMN_…, MERGE or EXTRACT_PATTERN"
_PLAIN = "it would put protected values into the lake in the clear", "read the encrypted layer with its key"

REFUSED: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(("GROUP_BY", "PIVOT", "UNPIVOT"), _JOB),
    "TRANSPOSE": _SUMMARY,
    **dict.fromkeys(("JOIN", "UNION"), _OTHER_ROWS),
    **dict.fromkeys(("NOW", "TODAY", "RANDOM", "RANDOM_BETWEEN"), _VARIES),
    **dict.fromkeys(
        ("NEST_TO_ARRAY", "NEST_TO_MAP", "NEST_TO_STRUCT", "UNNEST_ARRAY", "UNNEST_MAP", "UNNEST_STRUCT"), _NESTED
    ),
    **dict.fromkeys(("DECRYPT", "DETERMINISTIC_DECRYPT"), _PLAIN),
    "ENCRYPT": ("it gives other bytes at each run", "the encrypted layer protects what the contract classifies"),
    "SPLIT_COLUMN_WITH_INTERVALS": (
        "the number of its columns depends on the data",
        "use SPLIT_COLUMN_FROM_START or SPLIT_COLUMN_BETWEEN_POSITIONS",
    ),
    "SORT": ("the rows keep the source's order, by which they are counted and found", "sort in curated.sql"),
}
