"""Keep what a release has written, for test_previous_release.py: `make_fixture.py NAME` fills `tests/upgrade/NAME`.

Run it on the code of the release, before anything is changed (README.md here has the command). Two shops:

    demo/      the demo generator's shop: events with ids of their own, users, items, reviews, models
    invoices/  lines in the form of UCI Online Retail, all of them invented: events without ids

    SHOP/settings.yaml   the settings of the release, which have to serve later releases as well
    SHOP/data/           of the raw files that are loaded, those of the last days
    SHOP/next/           the next delivery, not loaded
    SHOP/lake/           tables and models as the release wrote them
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import sys
import tempfile
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from profiling_spark.config import load_settings
from profiling_spark.demo.generate import generate
from profiling_spark.features.job import build_features
from profiling_spark.ingest.job import ingest
from profiling_spark.pipeline import STAGES, Pipeline, Stage

HERE = Path(__file__).resolve().parent
CONF = HERE.parents[1] / "conf"
CUSTOMERS, DAYS, KEPT_DAYS = 45, 66, 5
ADS = ("ad_show", "ad_click")
SMALL = {
    "storage": {"root": "lake"},
    "data_root": "data",
    "buckets": 2,
    "segments": {"k_min": 3, "k_max": 4},
    "scores": {"churn": {"trees": 5, "max_depth": 3, "min_rows": 10, "min_class_rows": 2}},
    "recommend": {"top_n": 10, "neighbours": 10, "rank": 4, "iterations": 2, "min_pairs": 10},
}


def demo_files(folder: Path) -> None:
    """The demo shop's raw files: those of the last day under next/, the others under data/."""
    made = folder / "made"
    generate(made, customers=CUSTOMERS, days=DAYS)
    shutil.rmtree(made / "truth")
    days = sorted((made / "behaviour").iterdir())
    for file in days:
        _leave_lone_ads(file)
    _thin_catalogue(made)
    for name in ("behaviour", "orders"):
        (folder / "next" / name).mkdir(parents=True)
        for file in (made / name).glob(f"{days[-1].stem}.*"):
            file.rename(folder / "next" / name / file.name)
    made.rename(folder / "data")


def _leave_lone_ads(file: Path) -> None:
    """Keep ads only where the customer did something else on the day: no recency may rest on what an ad counts for."""
    rows = [(line, _fields(line)) for line in file.read_text(encoding="utf-8").splitlines()]
    here = {f.get("uid") for _, f in rows if f.get("action") not in ADS}
    kept = [line for line, f in rows if f.get("action") not in ADS or f.get("uid") in here]
    file.write_text("\n".join(kept) + "\n", encoding="utf-8")


def _fields(line: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(line)
    except json.JSONDecodeError:
        return {}
    return found


def _thin_catalogue(made: Path) -> None:
    """Of the catalogue, what was bought and a few more."""
    text = "".join(f.read_text(encoding="utf-8") for f in sorted((made / "orders").iterdir()))
    bought = sorted(set(re.findall(r"K\d{5}", text)))
    for file in sorted((made / "items").iterdir()):
        rows = pl.read_parquet(file)
        rows.filter(pl.col("sku").is_in(bought) | pl.col("sku").str.ends_with("0")).write_parquet(file)


def invoice_files(folder: Path) -> None:
    """Invented invoices of 40 days and, under next/, of one more."""
    rng = random.Random(11)
    items = [(f"{10000 + 7 * n}", f"SAMPLE ARTICLE {n}", round(rng.uniform(0.4, 15), 2)) for n in range(30)]
    number, first = 600000, date(2011, 3, 1)
    for day in range(41):
        lines: list[str] = []
        for _ in range(rng.randint(1, 4)):
            number += 1
            at = datetime.combine(first + timedelta(days=day), datetime.min.time()) + timedelta(
                minutes=rng.randint(480, 1080)
            )
            customer = "" if rng.random() < 0.1 else f"{rng.randint(501, 530)}.0"
            back = rng.random() < 0.15
            for code, title, price in rng.sample(items, rng.randint(1, 5)):
                pieces = rng.choice([1, 2, 6, 12, 24]) * (-1 if back else 1)
                name = f"C{number}" if back else str(number)
                lines.append(f"{name},{code},{title},{pieces},{at},{price},{customer},Sampleland")
            if rng.random() < 0.2:
                lines.append(lines[-1])  # the till printed it twice
        if day % 9 == 4:
            lines.append(f"{number},{items[0][0]},damages,-30,{at},0.0,,Sampleland")
        if day == 20:
            lines.append(f"{number},{items[1][0]},{items[1][1]},6000,{at},{items[1][2]},507.0,Sampleland")
        file = folder / ("next" if day == 40 else "data") / "online_retail" / f"{first + timedelta(days=day)}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
        file.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")


def settings_file(folder: Path, conf: str) -> None:
    """The release's own settings of the shop with those that keep the fixture small."""
    settings = yaml.safe_load((CONF / conf).read_text(encoding="utf-8")) | SMALL
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings, allow_unicode=True, sort_keys=False), "utf-8")


def load(folder: Path, *stages: Stage) -> None:
    """Run the stages in the folder: the ledger then holds relative paths, none of this machine."""
    os.chdir(folder)
    # the JVM of the first shop stays in its own folder
    root = f"storage.root={folder / 'lake'}"
    with Pipeline(load_settings([Path("settings.yaml")], [root])) as pipeline:
        pipeline.run(*(s.__name__ for s in stages), job="run_pipeline")


def keep(folder: Path, target: Path) -> None:
    """Copy what the tests need."""
    lake = folder / "lake"
    for file in lake.rglob("*.crc"):
        file.unlink()
    shutil.rmtree(lake / "_staging", ignore_errors=True)
    for log in lake.glob("*/_delta_log/*.json"):
        log.write_text(log.read_text(encoding="utf-8").replace(str(folder), ""), encoding="utf-8")
    for name in ("behaviour", "orders", "online_retail"):
        for file in sorted((folder / "data" / name).glob("*"))[:-KEPT_DAYS]:
            file.unlink()
    for name in ("settings.yaml", "data", "next", "lake"):
        source = folder / name
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target / name)


def main(name: str) -> None:
    """Make both shops of a release."""
    with tempfile.TemporaryDirectory() as made:
        for shop, conf, files, stages in (
            ("demo", "demo.yaml", demo_files, STAGES),
            ("invoices", "online_retail.yaml", invoice_files, (ingest, build_features)),
        ):
            folder, target = Path(made).resolve() / shop, HERE / name / shop
            target.mkdir(parents=True)
            folder.mkdir()
            files(folder)
            settings_file(folder, conf)
            load(folder, *stages)
            keep(folder, target)


if __name__ == "__main__":
    main(sys.argv[1])
