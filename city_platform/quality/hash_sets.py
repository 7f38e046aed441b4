"""Whether a row's key belongs to a set of keys, as a function inside a query.

A join would answer it too, and give up the order of the rows, on which byte-identical files rest; so would
`IN (SELECT ...)`, which is a join in other words.
"""

import numpy as np
import pyarrow as pa
from duckdb.func import PythonUDFType

from city_platform.engines.duckdb import Session


class HashSets:
    """Sets of 64-bit hashes, each a function `name(UBIGINT) -> BOOLEAN` of the session; eight bytes a member."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def function(self, query: str) -> str:
        """Registers the hashes a query returns in its first column; the function's name."""
        hashes = np.sort(self._session.connection.sql(query).to_arrow_table()[0].to_numpy())
        known = self._session.rows("SELECT count(*) FROM duckdb_functions() WHERE function_name LIKE '_in_set_%'")
        name = f"_in_set_{known[0][0]}"

        def contains(asked: pa.ChunkedArray | pa.Array) -> pa.Array:
            values = asked.to_numpy() if isinstance(asked, pa.ChunkedArray) else asked.to_numpy(zero_copy_only=False)
            if not len(hashes):
                return pa.array(np.zeros(len(values), dtype=bool))
            places = np.minimum(np.searchsorted(hashes, values), len(hashes) - 1)
            return pa.array(hashes[places] == values)

        self._session.connection.create_function(name, contains, ["UBIGINT"], "BOOLEAN", type=PythonUDFType.ARROW)
        return name
