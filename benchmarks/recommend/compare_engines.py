"""The nightly comparison of a lake's shop as tables: every engine by every protocol, with 95 % intervals by bootstrap.

    scripts/bench.sh compare_engines --config my.yaml --root LAKE [--as-of DATE] [--replicates 1000]

What `recommend_items` compares when it fits a model, with its own code: on the validation half settings and the blend
are found and the engine is chosen, the figures printed are of the test half. Nothing is written. `--root` is the folder
that `ingest` and `build_features` wrote.
"""

from __future__ import annotations

import argparse
import sys
import time
from datetime import UTC, date, datetime
from pathlib import Path

from profiling_spark.config import load_settings
from profiling_spark.contracts.features import user_features_table
from profiling_spark.contracts.silver import EVENTS
from profiling_spark.features.left_out import counted_rows
from profiling_spark.recommend.engines.als_tuning import tuning_lines
from profiling_spark.recommend.history.bots import bots_of
from profiling_spark.recommend.history.interactions import HistoryParams
from profiling_spark.recommend.history.pairs import item_totals, pairs_of
from profiling_spark.recommend.history.time_split import time_cutoff
from profiling_spark.recommend.judge.choose import TEST, VALIDATION, Comparison, serving_engine
from profiling_spark.recommend.judge.evaluate import Evaluated, K
from profiling_spark.recommend.judge.protocols import Protocol
from profiling_spark.runner import session_for
from profiling_spark.storage import Tables

_SHOWN = (f"recall@{K}", f"ndcg@{K}", f"map@{K}", f"hit_rate@{K}", f"coverage@{K}")
_WITH_INTERVAL = {f"recall@{K}", f"ndcg@{K}"}


def rows_of(found: Evaluated, protocol: Protocol) -> list[str]:
    """A table of the test half, the best engine first."""
    figures = found.of(protocol, TEST)
    if not figures:
        return [f"{protocol.name}: nobody could be judged"]
    users = max(f.users for f in figures.values())
    lines = ["", f"{protocol.name}: {users:,} customers", "", "| engine | " + " | ".join(_SHOWN) + " |"]
    lines.append("|---" * (len(_SHOWN) + 1) + "|")
    for name, f in sorted(figures.items(), key=lambda one: -(one[1].ndcg or 0.0)):
        cells = []
        for shown in _SHOWN:
            text = f"{f.values[shown]:.4f}" if shown in f.values else "-"
            if shown in _WITH_INTERVAL and f.replicates:
                low, high = f.intervals[shown]
                text += f" ({low:.3f} to {high:.3f})"
            cells.append(text)
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, action="append", default=[])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--root", type=Path, required=True, help="the lake")
    parser.add_argument("--as-of", type=date.fromisoformat, help="a date with features; the newest without it")
    parser.add_argument("--replicates", type=int, default=1000)
    args = parser.parse_args()
    settings = load_settings(args.config, [f"data_root={args.root}", f"storage.root={args.root}", *args.set])
    with session_for(settings, name="compare_engines", verbose=False, keeps=False) as spark:
        tables = Tables(spark, settings.storage.root, run_id=f"{datetime.now(UTC):%Y%m%dT%H%M%S}-000000")
        features = tables.read(user_features_table(settings.windows_days))
        dates = [row[0] for row in features.select("as_of").distinct().collect()]
        if not dates:
            parser.error(f"--root: {args.root} has no features of a date; run ingest and build_features on it first")
        as_of = args.as_of or max(dates)
        features = features.where(features["as_of"] == as_of)
        params, bots = HistoryParams.of(settings, as_of), bots_of(features)
        events = bots.left_out(counted_rows(tables.read(EVENTS), settings.left_out))
        share = settings.recommend.test_share
        cutoff = time_cutoff(events, since=params.since, before=as_of, event_types=params.kinds, share=share)
        pairs = pairs_of(tables, settings, as_of=as_of, cutoff=cutoff, bots=bots).persist()
        totals, begin = item_totals(pairs), time.monotonic()
        attributes = features.select("user_id", "gender_code", "age_band")
        comparison = Comparison.of(pairs, totals, settings, attributes)
        found = comparison.run(None, replicates=args.replicates)
        served = comparison.protocols[1]
        serves = serving_engine(found.of(served, VALIDATION), found.paired.get((served.name, VALIDATION)))
        size = f"{totals.pairs:,} pairs of {len(totals.items):,} items"
        lines = [f"as of {as_of}, split at {cutoff}: {size}; {serves} serves"]
        lines += [*tuning_lines(comparison.tuned), f"blend: {comparison.blend}"]
        for protocol in comparison.protocols:
            lines += rows_of(found, protocol)
            paired = found.paired.get((protocol.name, TEST))
            if paired is not None and serves in paired.engines:
                gains = {n: paired.gain(serves, n) for n in paired.engines if n != serves}
                lines += ["", f"gain of {serves}, NDCG@{K}, paired 95 % intervals:"]
                lines += [f"- over {n}: {g.mean:+.4f} ({g.low:+.4f} to {g.high:+.4f})" for n, g in gains.items()]
        lines.append(f"\n{time.monotonic() - begin:.0f} s")
        sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
