"""Recall@20 and NDCG@20 of graph_filter on a given split, without Spark: what the mathematics gives, and its cost.

The folder has train.txt and test.txt with lines `user item item ...` (LightGCN's split of Gowalla). As LightGCN
evaluates (He et al., SIGIR 2020): all items but the customer's training ones are ranked, Recall is hits / |test|, the
ideal of NDCG has min(20, |test|) items, means are over customers with test items. `--validation SHARE` never opens
test.txt: that share of each customer's training pairs becomes the truth.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy import sparse

from profiling_spark.recommend.engines.graph_filter import Band, GraphFilterSide, graph_filter_side, rows_at_a_time
from profiling_spark.recommend.judge.metrics import ndcg, recall
from profiling_spark.recommend.matrix.item_graph import (
    gram_rows,
    image,
    item_degrees,
    normalise,
    singular_vectors,
    strongest,
)
from profiling_spark.recommend.matrix.item_side import Floats, Scores, padded_blocks
from profiling_spark.recommend.matrix.score_block import best, close_pairs
from profiling_spark.recommend.matrix.top_n import NONE, parts_of

K = 20
# gf_cf and one_band are GF-CF's; two_bands was chosen on held-out training pairs (--validation 0.2), never on test.txt
SETTINGS: dict[str, tuple[Band, ...]] = {
    "gf_cf": (Band(256, 0.5, 0.6),),
    "one_band": (Band(768, 0.5, 0.6),),
    "two_bands": (Band(192, 0.5, 1.07), Band(576, 0.2, 0.76)),
}


class Clock:
    """Wall and processor seconds by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add what the body takes to the step."""
        wall, busy = time.perf_counter(), time.process_time()
        yield
        spent = self.seconds.setdefault(name, [0.0, 0.0])
        spent[0] += time.perf_counter() - wall
        spent[1] += time.process_time() - busy


def read_split(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """User and item numbers, one pair each."""
    lines = [np.array(line.split(), dtype=np.int64) for line in path.read_text(encoding="ascii").splitlines()]
    users = np.repeat([line[0] for line in lines if len(line)], [len(line) - 1 for line in lines if len(line)])
    return users, np.concatenate([line[1:] for line in lines if len(line)])


def matrix(users: np.ndarray, items: np.ndarray, shape: tuple[int, int]) -> sparse.csr_array:
    """1 for each pair, however often it is listed."""
    found = sparse.csr_array((np.ones(len(users)), (users, items)), shape=shape)
    found.sum_duplicates()
    found.data[:] = 1.0
    return found


def hold_out(train: sparse.csr_array, share: float, seed: int) -> tuple[sparse.csr_array, sparse.csr_array]:
    """A random `share` of each customer's pairs (rounded down), and the others first."""
    lengths = np.diff(train.indptr)
    row = np.repeat(np.arange(len(lengths)), lengths)
    order = np.lexsort((np.random.default_rng(seed).random(train.nnz), row))
    place = np.arange(train.nnz) - np.repeat(train.indptr[:-1], lengths)
    drawn = place < np.floor(lengths * share + 1e-9)[row]
    items = train.indices[order]
    return matrix(row[~drawn], items[~drawn], train.shape), matrix(row[drawn], items[drawn], train.shape)


def load(folder: Path, validation: float, seed: int) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Training and truth matrices (users, items)."""
    train = read_split(folder / "train.txt")
    if validation > 0:
        whole = matrix(*train, (int(train[0].max()) + 1, int(train[1].max()) + 1))
        return hold_out(whole, validation, seed)
    test = read_split(folder / "test.txt")
    shape = (int(max(train[0].max(), test[0].max())) + 1, int(max(train[1].max(), test[1].max())) + 1)
    return matrix(*train, shape), matrix(*test, shape)


def prepare(train: sparse.csr_array, args: argparse.Namespace, clock: Clock) -> GraphFilterSide:
    """The item side, block by block as tasks would do it."""
    edges = np.linspace(0, train.shape[0], args.blocks + 1).astype(int)
    raw = [train[a:b] for a, b in pairwise(edges)]
    with clock.step("normalise"):
        degree: Floats = sum((item_degrees(block) for block in raw), np.zeros(train.shape[1]))
        blocks = [normalise(b, degree, user_exponent=args.b, item_exponent=args.a) for b in raw]
    with clock.step("item_item"):
        parts = []
        for at in range(0, train.shape[1], args.columns):
            rows = gram_rows(blocks, slice(at, min(at + args.columns, train.shape[1])))
            parts.append((strongest(rows, args.neighbours) if args.neighbours else rows).astype(np.float32))
        neighbours = sparse.vstack(parts, format="csr")
        del parts, rows
        if args.cut == "sources":
            neighbours = sparse.csr_array(neighbours.T)
    bands = SETTINGS[args.settings]
    with clock.step("vectors"):

        def image_of(basis: Scores) -> Scores:
            total = np.zeros_like(basis)
            for block in blocks:
                total += image(block, basis)
            return total

        rank = sum(band.count for band in bands)
        vectors, _ = singular_vectors(image_of, train.shape[1], rank=rank, passes=args.passes, seed=args.seed)
    with clock.step("weights"):
        sample = np.sort(np.random.default_rng(args.seed).permutation(train.shape[0])[: args.sample])
        return graph_filter_side(
            neighbours, vectors, degree, bands=bands, sample=train[sample], candidates=args.candidates
        )


def evaluate(
    side: GraphFilterSide, train: sparse.csr_array, truth: sparse.csr_array, users: np.ndarray, clock: Clock
) -> tuple[float, float]:
    """Recall@20 and NDCG@20 of the users that have truth; their lists come from the project's own top-N pass."""
    past = train[users]
    row = np.repeat(users, np.diff(past.indptr))
    found = []
    columns = row, past.indices.astype(np.int64), past.data
    for block, histories in padded_blocks(*columns, rows=rows_at_a_time(side)):
        with clock.step("score"):
            scored = side.score(histories)
            score_block = scored.block()
        with clock.step("top_20"):
            seen = train[block].tocoo()
            close_pairs(score_block, seen.row.astype(np.int64), seen.col.astype(np.int64))
            lists, _ = best(score_block, K, scored.exact)
        is_truth = truth[block].toarray() > 0
        sizes = is_truth.sum(axis=1)
        hits = np.take_along_axis(is_truth, np.maximum(lists, 0), axis=1) & (lists != NONE)
        judged = sizes > 0
        found.append(np.c_[recall(hits[judged], sizes[judged]), ndcg(hits[judged], sizes[judged])])
    means = np.concatenate(found).mean(axis=0)
    return float(means[0]), float(means[1])


def worst_contribution(side: GraphFilterSide, train: sparse.csr_array, clock: Clock) -> float:
    """Largest relative difference between a score and the sum of its contributions, on one block of customers."""
    row = np.repeat(np.arange(2000), np.diff(train[:2000].indptr))
    columns = row, train[:2000].indices.astype(np.int64), train[:2000].data
    worst = 0.0
    for block, histories in padded_blocks(*columns, rows=1000):
        with clock.step("reasons_of_2000"):
            scored = side.score(histories)
            score_block = scored.block()
            close_pairs(score_block, *np.nonzero(train[block].toarray() > 0))
            items, scores = best(score_block, K, scored.exact)
            parts = parts_of(scored, items)
        worst = max(worst, float((np.abs(parts.sum(axis=2) - scores) / np.abs(scores)).max()))
    return worst


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with train.txt and test.txt")
    parser.add_argument("--settings", choices=sorted(SETTINGS), default="two_bands")
    parser.add_argument("--neighbours", type=int, default=500, help="strongest neighbours of an item; 0 keeps all")
    parser.add_argument("--cut", choices=["sources", "targets"], default="sources", help="whose neighbours are kept")
    parser.add_argument("--b", type=float, default=0.3, help="exponent of the customers' degrees")
    parser.add_argument("--a", type=float, default=0.4, help="exponent of the items' degrees")
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--sample", type=int, default=1000, help="customers on whom the bands' weights are set")
    parser.add_argument("--candidates", type=int, default=0, help="items scored for a customer; 0 all")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--blocks", type=int, default=8)
    parser.add_argument("--columns", type=int, default=8192, help="items of a range of the item-item product")
    parser.add_argument("--validation", type=float, default=0.0, help="share of each customer's training pairs")
    parser.add_argument("--users", type=int, default=0, help="evaluate so many customers at random; 0 all")
    args = parser.parse_args()
    if absent := [name for name in ("train.txt", "test.txt") if not (args.data / name).is_file()]:
        parser.error(f"--data: {args.data} has no {' and no '.join(absent)}, the files of LightGCN's split of Gowalla")
    clock = Clock()
    with clock.step("read"):
        train, truth = load(args.data, args.validation, args.seed)
    side = prepare(train, args, clock)
    prepared_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    chosen = np.random.default_rng(1).permutation(train.shape[0])[: args.users or None]
    figures = evaluate(side, train, truth, np.sort(chosen), clock)
    report = {
        **{k: v for k, v in vars(args).items() if k != "data"},
        "recall@20": round(figures[0], 5),
        "ndcg@20": round(figures[1], 5),
        "band_weights": [round(float(w), 4) for w in side.weights],
        "neighbours_stored": int(side.neighbours.nnz),
        "contributions_off_by": worst_contribution(side, train, clock),
        "seconds_wall_busy": {k: [round(x, 1) for x in v] for k, v in clock.seconds.items()},
        "peak_mb_prepare": round(prepared_mb),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    sys.stdout.write(json.dumps(report) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
