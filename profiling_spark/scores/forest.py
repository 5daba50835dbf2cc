"""MLlib's random forest as arrays: the same scores, and what each feature added to a customer's score.

Contributions are Saabas': each step of a tree's path moves the share of label 1 from a node's to its child's, and
belongs to the feature that the node asks about. Roots' mean share + all steps = the score.

Workers load this module, so it imports nothing heavy (pyspark.ml takes a second of each worker).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from profiling_spark.errors import ModelError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Forest:
    """All trees' nodes in one line. A leaf is its own child, so that a walk of `depth` steps ends in it."""

    feature: Ints
    threshold: Floats
    left: Ints
    right: Ints
    value: Floats  # share of label 1
    roots: Ints
    depth: int

    @property
    def base(self) -> float:
        """Score of a customer of whom nothing is known: mean share at the roots."""
        return float(self.value[self.roots].mean())

    def scores(self, rows: Floats) -> Floats:
        """Mean over the trees of the leaf's share: MLlib's probability of label 1."""
        return self.contributions(rows)[0]

    def contributions(self, rows: Floats) -> tuple[Floats, Floats]:
        """(score, contribution of each feature). base + sum of contributions = score, up to rounding."""
        count, width = rows.shape
        start = np.arange(count) * width
        flat = np.ascontiguousarray(rows).ravel()
        added, score = np.zeros(count * width), np.zeros(count)
        for root in self.roots:
            node = np.full(count, root)
            for _ in range(self.depth):
                place = start + self.feature[node]
                child = np.where(flat[place] <= self.threshold[node], self.left[node], self.right[node])
                # one place a row: no two of them meet
                added[place] += self.value[child] - self.value[node]
                node = child
            score += self.value[node]
        trees = len(self.roots)
        return score / trees, (added / trees).reshape(count, width)


def forest_of(nodes: Mapping[str, pa.ChunkedArray]) -> Forest:
    """The forest from MLlib's columns, sorted by tree and node."""
    tree, own = nodes["treeID"].to_numpy(), nodes["id"].to_numpy()
    begins = np.flatnonzero(np.r_[True, tree[1:] != tree[:-1]]) if len(tree) else np.zeros(0, dtype=np.int64)
    offset = np.repeat(begins, np.diff(np.r_[begins, len(tree)]))
    if len(tree) == 0 or not np.array_equal(own + offset, np.arange(len(tree))):
        raise ModelError("forest: expected each tree's nodes numbered from 0 without gaps, found others")
    left, right = (nodes[n].to_numpy().astype(np.int64) for n in ("leftChild", "rightChild"))
    is_leaf, here = left < 0, np.arange(len(tree))
    left, right = np.where(is_leaf, here, left + offset), np.where(is_leaf, here, right + offset)
    feature = np.where(is_leaf, 0, nodes["featureIndex"].to_numpy()).astype(np.int64)
    counts = np.array(nodes["impurityStats"].to_pylist(), dtype=np.float64)
    thresholds = [t[0] if t else 0.0 for t in nodes["leftCategoriesOrThreshold"].to_pylist()]
    value = counts[:, 1] / counts.sum(axis=1)
    return Forest(feature, np.array(thresholds), left, right, value, begins, _depth(left, right, begins))


def _depth(left: Ints, right: Ints, roots: Ints) -> int:
    """Steps to the deepest leaf."""
    depth, level = 0, roots
    while True:
        below = np.unique(np.r_[left[level], right[level]])
        level = np.setdiff1d(below, level)
        if len(level) == 0:
            return depth
        depth += 1
