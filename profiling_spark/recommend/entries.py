"""Single entries of a sparse matrix, many at a time."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from profiling_spark.recommend.item_side import Floats, Ints

_AT_A_TIME = 2**16  # searches whose temporaries stay in the cache


def entries(matrix: sparse.csr_array, rows: Ints, columns: Ints) -> Floats:
    """matrix[rows, columns], 0 where it stores none; by binary search in the rows, which must be sorted by column."""
    found = np.zeros(len(rows))
    if matrix.nnz == 0:
        return found
    for at in range(0, len(rows), _AT_A_TIME):
        part = slice(at, at + _AT_A_TIME)
        found[part] = _search(matrix, rows[part], columns[part])
    return found


def _search(matrix: sparse.csr_array, rows: Ints, columns: Ints) -> Floats:
    low, end = matrix.indptr[rows], matrix.indptr[rows + 1]
    high, last, wanted = end, matrix.nnz - 1, columns.astype(matrix.indices.dtype)
    for _ in range(int((end - low).max()).bit_length()):
        middle = (low + high) >> 1
        is_before = (middle < high) & (matrix.indices[np.minimum(middle, last)] < wanted)
        low, high = np.where(is_before, middle + 1, low), np.where(is_before, high, middle)
    place = np.minimum(low, last)
    found: Floats = np.where((low < end) & (matrix.indices[place] == wanted), matrix.data[place], 0.0)
    return found
