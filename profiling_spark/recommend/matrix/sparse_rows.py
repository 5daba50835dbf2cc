"""Sparse matrices: single entries, many at a time; the width of their numbers; their arrays by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from profiling_spark.recommend.matrix.item_side import Floats, Ints

_SQUARE = ("data", "indices", "indptr")
_AT_A_TIME = 2**16  # searches whose temporaries stay in the cache


def values_at(matrix: sparse.csr_array, rows: Ints, columns: Ints) -> Floats:
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


def row_ends(lengths: Ints) -> NDArray[np.signedinteger]:
    """Where rows of these lengths end, from 0, in 32 bits where that is enough: SciPy gives all numbers of a matrix the
    widest type among them, and a product of matrices of two types copies the narrower one each time.
    """
    ends: Ints = np.r_[0, np.cumsum(lengths, dtype=np.int64)]
    kind = np.int32 if ends[-1] <= np.iinfo(np.int32).max else np.int64
    return ends.astype(kind)


def square_arrays(matrix: sparse.csr_array) -> dict[str, NDArray[Any]]:
    """The arrays of a square matrix, by name."""
    return {name: getattr(matrix, name) for name in _SQUARE}


def square_of(arrays: Mapping[str, NDArray[Any]]) -> sparse.csr_array:
    """The matrix of `square_arrays`, which are not copied."""
    data, indices, indptr = (arrays[name] for name in _SQUARE)
    return sparse.csr_array((data, indices, indptr), shape=(len(indptr) - 1,) * 2)
