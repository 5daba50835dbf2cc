"""graph_filter for a large shop: seconds of each stage, memory of each kind of process, and the growth with customers.

    scripts/bench.sh large_shop --users 100000 1000000 --items 200000 --pairs 50 --folder FOLDER

For each number of customers it writes `train.parquet` and `test.parquet` (kept in FOLDER) and runs, as anyone can,
`scripts/submit.sh evaluate_recommender --engine graph_filter --alone --json` on them: read, fit, and the best 20 new
items of every customer, judged. A customer has `--pairs` interactions on average, at least 5, with a long tail; most of
them with items of one to three of 1,000 tastes, within which a few items have most of the interactions, the others with
items that are popular with everyone. The two test items of a customer come from the same distribution.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ingest_events import Peak
from numpy.typing import NDArray

PROJECT = Path(__file__).resolve().parents[2]
TASTES, OF_TASTE, TESTED = 1_000, 0.85, 2
_CHUNK = 50_000  # customers made at once
_SKEW = 0.8  # of popularity: weight 1 / rank ** _SKEW
Ints = NDArray[np.int64]


class Shop:
    """Which items there are to take; items are numbered taste by taste, in a random order of popularity overall."""

    def __init__(self, random: np.random.Generator, items: int) -> None:
        self.random, self.items, self.size = random, items, items // TASTES
        self.within = _cumulative(self.size)
        self.overall, self.by_popularity = _cumulative(items), random.permutation(items)

    def taken(self, tastes: Ints) -> Ints:
        """An item for each row of tastes (customer's tastes, -1 where it has fewer)."""
        count = (tastes >= 0).sum(axis=1)
        taste = tastes[np.arange(len(tastes)), (self.random.random(len(tastes)) * count).astype(np.int64)]
        here = taste * self.size + np.searchsorted(self.within, self.random.random(len(tastes)))
        anywhere = self.by_popularity[np.searchsorted(self.overall, self.random.random(len(tastes)))]
        return np.where(self.random.random(len(tastes)) < OF_TASTE, here, anywhere)


def _cumulative(count: int) -> NDArray[np.float64]:
    weight = 1 / np.arange(1, count + 1) ** _SKEW
    shares: NDArray[np.float64] = np.cumsum(weight) / weight.sum()
    shares[-1] = 1.0
    return shares


def generate(folder: Path, users: int, items: int, pairs: int) -> None:
    """Write both files; the same for the same arguments."""
    folder.mkdir(parents=True)
    shop = Shop(np.random.default_rng([7, users]), items)
    schema = pa.schema([("user", pa.int64()), ("item", pa.int64())])
    with (
        pq.ParquetWriter(folder / "train.parquet", schema) as train,
        pq.ParquetWriter(folder / "test.parquet", schema) as test,
    ):
        for first in range(0, users, _CHUNK):
            user = np.arange(first, min(first + _CHUNK, users))
            tastes = shop.random.integers(0, TASTES, (len(user), 3))
            tastes[np.arange(3) >= shop.random.integers(1, 4, len(user))[:, None]] = -1
            # a log-normal tail whose mean, with the 5, is `pairs`
            lengths = 5 + np.floor(shop.random.lognormal(math.log(pairs - 4.5) - 0.5, 1.0, len(user))).astype(np.int64)
            for writer, counts in ((train, lengths), (test, np.full(len(user), TESTED))):
                row = np.repeat(np.arange(len(user)), counts)
                writer.write_table(pa.table([user[row], shop.taken(tastes[row])], schema=schema))


def run(folder: Path, settings: list[str], memory: str) -> tuple[dict[str, Any], Peak]:
    """What evaluate_recommender prints for the files of a folder, and its memory."""
    command = [str(PROJECT / "scripts" / "submit.sh"), "evaluate_recommender", "--engine", "graph_filter", "--alone"]
    command += ["--json", "--train", str(folder / "train.parquet"), "--test", str(folder / "test.parquet")]
    for pair in settings:
        command += ["--set", pair]
    environ = {**os.environ, "PROFILING_SPARK_DRIVER_MEMORY": memory}
    environ.pop("PYTHONPATH", None)
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as process,
        Peak(process.pid) as peak,
    ):
        out, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
    return json.loads(out.splitlines()[-1]), peak


def main() -> None:
    """Make the files where they are absent, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--pairs", type=int, default=50, help="interactions of a customer, on average")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--memory", default="6g", help="of the Java process")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting; repeatable")
    given = parser.parse_args()
    if given.items < TASTES:
        parser.error(f"--items: expected {TASTES} at least")
    totals: dict[int, float] = {}
    for users in given.users:
        folder = given.folder.resolve() / f"{users}-users-{given.items}-items-{given.pairs}-pairs"
        if not folder.exists():
            unfinished = given.folder.resolve() / "unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            generate(unfinished, users, given.items, given.pairs)
            unfinished.rename(folder)
        rows = pq.read_metadata(folder / "train.parquet").num_rows
        report, peak = run(folder, given.set, given.memory)
        totals[users] = sum(report["seconds"].values())
        seconds = ", ".join(f"{step} {value:,.0f}" for step, value in report["seconds"].items())
        kinds = ", ".join(f"{kind} {value:,.0f}" for kind, value in sorted(peak.by_kind.items()) if value > 100)
        sys.stdout.write(
            f"{users:,} customers, {given.items:,} items, {rows:,} interactions: {totals[users]:,.0f} s ({seconds}); "
            f"recall@20 {report['recall@20']}, ndcg@20 {report['ndcg@20']}, {report['customers']:,} judged; "
            f"peak {peak.megabytes:,.0f} MB (at most: {kinds})\n"
        )
        sys.stdout.flush()
    if len(totals) > 1:
        (less, quick), (more, slow) = min(totals.items()), max(totals.items())
        growth = math.log(slow / quick) / math.log(more / less)
        sys.stdout.write(
            f"{more / less:.0f} times the customers take {slow / quick:.1f} times as long ({growth:.2f})\n"
        )


if __name__ == "__main__":
    main()
