"""Numbers of numpy as arrays of Arrow."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def int64_array(values: npt.NDArray[np.int64]) -> pa.Array:
    """The numbers as Arrow, without a copy and without pyarrow importing pandas, which takes a second."""
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])
