"""The demo shop: the same bytes each time, a truth that plain Python arrives at, and planted structure that shows."""

import csv
import json
import math
from collections import Counter
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from shop_features import churn, events, features, matrix
from shop_reader import Reading, read_behaviour, read_orders, read_reviews, read_users
from sklearn.cluster import KMeans
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import adjusted_rand_score, roc_auc_score
from sklearn.model_selection import cross_val_predict

from profiling_spark.demo import DemoError, DemoTruth, generate
from profiling_spark.demo.__main__ import main
from profiling_spark.demo.tables import NEW_ITEMS
from profiling_spark.demo.words import REMARKS

AS_OF = date(2026, 7, 1)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 customers, enough for every fault to occur."""
    out = tmp_path_factory.mktemp("demo") / "small"
    generate(out, customers=300, seed=3)
    return out


@pytest.fixture(scope="module")
def logs(small: Path) -> Reading:
    return read_behaviour(small)


@pytest.fixture(scope="module")
def lines(small: Path) -> Reading:
    return read_orders(small)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Events, items and the planted customers of a shop large enough for models."""
    out = tmp_path_factory.mktemp("demo") / "shop"
    generate(out, customers=1000)
    rows = events(read_behaviour(out), read_orders(out))
    items = pl.read_parquet(out / "items" / "items_2026-06-30.parquet")
    return rows, items, pl.read_parquet(out / "truth" / "customers.parquet")


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_same_arguments_same_bytes_and_another_seed_other_ones(tmp_path: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        generate(tmp_path / name, customers=60, days=14, seed=seed)
    a, b, c = (_bytes(tmp_path / name) for name in "abc")
    assert a == b
    assert a["orders/2026-06-20.csv"] != c["orders/2026-06-20.csv"]


def _agrees(reading: Reading, truth: DemoTruth, source: str) -> None:
    want = truth.sources[source]
    assert reading.rows == want.rows
    assert reading.files == want.files
    assert reading.rejected == want.rejected
    assert reading.verdicts["accepted"] == want.accepted
    assert reading.verdicts["duplicate"] == want.duplicates
    assert reading.verdicts["ignored"] == want.ignored
    assert sorted(reading.repeated) == sorted(want.repeated_files)


def test_behaviour_counts(small: Path, logs: Reading) -> None:
    truth = DemoTruth.load(small)
    _agrees(logs, truth, "behaviour")
    assert set(logs.rejected) == {
        "unreadable", "no_user", "bad_event_time", "time_out_of_range", "unknown_event_type",
    }  # fmt: skip
    assert Counter(r["action"] for r in logs.accepted) == truth.actions
    assert len({r["log_id"] for r in logs.accepted}) == truth.sources["behaviour"].accepted


def test_order_counts_and_sums(small: Path, lines: Reading) -> None:
    truth = DemoTruth.load(small)
    _agrees(lines, truth, "orders")
    assert set(lines.rejected) == {
        "unreadable", "no_user", "bad_event_time", "time_out_of_range",
        "price_not_positive", "bad_unit_price", "quantity_not_positive",
    }  # fmt: skip
    amount: dict[str, Decimal] = {"order": Decimal(0), "refund": Decimal(0)}
    for row in lines.accepted:
        amount[row["type"]] += int(row["qty"]) * Decimal(row["price"]) - Decimal(row["discount"])
    odd = [r for r in lines.accepted if int(r["qty"]) > 500]
    assert amount["order"] == truth.orders.purchase_amount
    assert amount["refund"] == truth.orders.refund_amount
    assert len(odd) == truth.orders.outliers
    assert sum(int(r["qty"]) * Decimal(r["price"]) for r in odd) == truth.orders.outlier_amount
    assert len({r["order_id"] for r in lines.accepted if r["type"] == "order"}) == truth.orders.orders
    assert len({(r["order_id"], r["line_no"], r["type"]) for r in lines.accepted}) == len(lines.accepted)


def test_late_order_lines_stand_in_the_next_days_file(small: Path) -> None:
    late: Counter[str] = Counter()
    here: set[str] = set()
    for path in sorted(p for p in (small / "orders").iterdir() if "_resend" not in p.name):
        text = path.read_text(encoding="utf-8").splitlines()[1:]
        before = str(date.fromisoformat(path.stem) - timedelta(days=1))
        # a line of yesterday that yesterday's file lacks is late; otherwise it is a repeat
        late["late"] += sum(f'"{before} ' in line and line not in here for line in set(text))
        here = set(text)
    assert late["late"] == DemoTruth.load(small).orders.late


def test_reviews_and_items(small: Path) -> None:
    truth = DemoTruth.load(small)
    _agrees(reading := read_reviews(small), truth, "reviews")
    assert len({r["review_id"] for r in reading.accepted}) == len(reading.accepted)
    before, items = (pl.read_parquet(path) for path in sorted((small / "items").iterdir()))
    both = pl.concat([before, items])
    assert (len(both), len(both.unique())) == (truth.sources["items"].rows, truth.sources["items"].accepted)
    assert items["sku"].n_unique() == len(items.unique()) == truth.items
    assert before["sku"].to_list() == items["sku"].unique().sort()[:-NEW_ITEMS].to_list()
    new = set(items["sku"][-NEW_ITEMS:])
    assert not new & {r["sku"] for r in [*read_behaviour(small).accepted, *read_orders(small).accepted] if "sku" in r}
    assert truth.sources["items"].files == 2
    cheaper = before.join(items.unique(), on="sku").filter(pl.col("price") != pl.col("price_right"))
    assert len(cheaper) > 20
    assert (cheaper["price"] > cheaper["price_right"]).all()
    assert {r["sku"] for r in reading.accepted} <= set(items["sku"])
    assert (items["price"] < Decimal("0.1")).any()


def test_users(small: Path) -> None:
    truth = DemoTruth.load(small)
    reading = read_users(small)
    _agrees(reading, truth, "users")
    forms = Counter(r["gender"] for r in reading.accepted)
    assert forms == truth.users.gender_forms
    assert truth.users.genders["female"] == sum(forms[f] for f in ("Female", "FEMALE", "female", "f", "F", "女"))
    assert {k: sum(r[k] == "" for r in reading.accepted) for k in reading.accepted[0]} == truth.users.nulls
    for row in reading.accepted:
        if row["age"] and row["birthday"]:
            born = date.fromisoformat(row["birthday"])
            assert int(row["age"]) == 2026 - born.year - ((born.month, born.day) > (6, 30))


def test_guests_come_after_all_others_and_no_engine_knows_them(small: Path, logs: Reading, lines: Reading) -> None:
    truth = DemoTruth.load(small)
    guests = {r["uid"]: r for r in read_users(small).accepted if r["uid"][0] == "G"}
    assert len(guests) == truth.guests == 4
    searcher, clicker, described, placed = (f"G000000{n}" for n in range(1, 5))
    acts = [r for r in logs.accepted if r["uid"] in guests]
    assert [(r["uid"], r["action"]) for r in acts] == [(searcher, "search")] * 2 + [(clicker, "ad_click")] * 3
    assert all(r["ts"][:16].replace("T", " ") == guests[r["uid"]]["registered_at"][:16] for r in acts)
    assert [("query" in r, "sku" in r) for r in acts] == [(True, False)] * 2 + [(False, True)] * 3
    assert len({r["cate"] for r in acts[2:]}) == 1
    assert not guests.keys() & {r["uid"] for r in lines.accepted}
    said = {u: [name for name in ("gender", "age", "province") if guests[u][name]] for u in (described, placed)}
    assert said == {described: ["gender", "age", "province"], placed: ["province"]}
    delivered = (small / "users" / "users_2026-06-30.csv").read_text(encoding="utf-8").splitlines()
    assert [line[:8] for line in delivered[-5:]] == [delivered[-5][:8], searcher, clicker, described, placed]
    assert delivered[-5][0] == "U"


def test_text_with_commas_quotes_and_chinese_survives(lines: Reading, logs: Reading, small: Path) -> None:
    assert {r["remark"] for r in lines.accepted} == set(REMARKS)
    first = small / "orders" / "2026-06-18.csv"
    with first.open(encoding="utf-8", newline="") as file:  # a reader of whole files sees the same number of rows
        assert len(list(csv.reader(file, strict=True))) == first.read_text(encoding="utf-8").count("\n")
    queries = {r["query"] for r in logs.accepted if "query" in r}
    assert {"蓝牙耳机", 'earbuds "gift"', "蓝牙耳机\\earbuds"} <= queries
    assert json.loads(json.dumps("蓝牙耳机🎁送礼")) in queries


def test_a_visit_runs_in_order(logs: Reading) -> None:
    rows = pl.DataFrame(
        [{"session": r["session"], "uid": r["uid"], "ts": r["ts"], "action": r["action"], "sku": r.get("sku")}
         for r in logs.accepted]
    )  # fmt: skip
    by_visit = rows.group_by("session").agg(pl.col("uid").n_unique(), pl.col("ts").str.head(10).n_unique())
    assert by_visit["uid"].max() == 1
    assert by_visit["ts"].max() == 1
    login = rows.filter(pl.col("action") == "login").join(rows, on="session")
    assert (login["ts"] <= login["ts_right"]).all()
    first_view = rows.filter(pl.col("action") == "click").group_by("session", "sku").agg(pl.col("ts").min())
    carts = rows.filter(pl.col("action") == "add_cart").join(first_view, on=["session", "sku"], how="left")
    assert (carts["ts"] > carts["ts_right"]).all()
    assert carts["ts_right"].null_count() == 0


def test_customers_truth_counts_accepted_rows(small: Path, logs: Reading, lines: Reading) -> None:
    truth = DemoTruth.load(small)
    table = pl.read_parquet(small / "truth" / "customers.parquet")
    seen = Counter(r["uid"] for r in logs.accepted)
    bought = Counter(r["uid"] for r in lines.accepted if r["type"] == "order")
    assert [seen[u] for u in table["uid"]] == table["behaviour_events"].to_list()
    assert [bought[u] for u in table["uid"]] == table["order_lines"].to_list()
    labels = churn(events(logs, lines), AS_OF)
    assert labels.filter(pl.col("churned"))["uid"].to_list() == table.filter(pl.col("churned"))["uid"].to_list()
    assert len(labels) == truth.at_risk_of_churn
    assert (int(table["churned"].sum()), int(table["is_risk"].sum())) == (truth.churned, truth.risk_customers)


def test_risk_customers_have_bursts(lines: Reading, small: Path) -> None:
    table = pl.read_parquet(small / "truth" / "customers.parquet")
    rows = pl.DataFrame([r for r in lines.accepted if r["type"] == "order"]).unique("order_id")
    an_hour = rows.with_columns(pl.col("order_time").str.to_datetime()).sort("uid", "order_time").rolling(
        "order_time", period="1h", group_by="uid"
    ).agg(pl.len())  # fmt: skip
    burst = an_hour.filter(pl.col("len") >= 7)["uid"].unique()
    assert set(burst) == set(table.filter("is_risk")["uid"])


def test_kinds_can_be_found(shop: tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]) -> None:
    rows, items, customers = shop
    table = features(rows, items, AS_OF).join(customers, on="uid", how="semi", maintain_order="left")  # no guests
    kind = table.select("uid").join(customers, on="uid", how="left", maintain_order="left")["kind"]
    x = matrix(table)
    scores = [adjusted_rand_score(kind, KMeans(6, n_init=2, random_state=s).fit_predict(x)) for s in range(3)]
    assert min(scores) > 0.6
    assert max(scores) < 0.97  # people of one kind differ


def test_churn_depends_on_more_than_recency(shop: tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]) -> None:
    rows, items, _ = shop
    labels = churn(rows, AS_OF)
    table = labels.join(features(rows, items, AS_OF - timedelta(days=30)), on="uid", maintain_order="left")
    y = labels["churned"].to_numpy()
    x = table.drop("uid", "churned").with_columns(pl.all().cast(pl.Float64).fill_nan(None)).fill_null(-1.0).to_numpy()
    forest = RandomForestClassifier(60, max_depth=8, min_samples_leaf=4, random_state=42)
    p = cross_val_predict(forest, x, y, cv=3, method="predict_proba")[:, 1]
    assert 0.12 < y.mean() < 0.30
    assert roc_auc_score(y, p) > roc_auc_score(y, table["days_since_last_event"].to_numpy()) + 0.04


def test_tastes_beat_popularity(shop: tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]) -> None:
    """Item cosine against the popular items: recall of the 20 best among items new to the customer."""
    rows, _, _ = shop
    acts = rows.filter(pl.col("type").is_in(["click", "fav", "add_cart", "purchase"]))
    users, skus = (acts[c].unique().sort() for c in ("uid", "sku"))
    pairs = acts.select(
        pl.col("uid").replace_strict(users, pl.int_range(len(users), eager=True)),
        pl.col("sku").replace_strict(skus, pl.int_range(len(skus), eager=True)),
        is_test=pl.col("day") >= AS_OF - timedelta(days=24),
    )
    past, later = (np.zeros((len(users), len(skus))) for _ in range(2))
    past[tuple(pairs.filter(~pl.col("is_test")).select("uid", "sku").to_numpy().T)] = 1
    later[tuple(pairs.filter("is_test").select("uid", "sku").to_numpy().T)] = 1
    later *= 1 - past
    judged = (past.sum(axis=1) > 0) & (later.sum(axis=1) > 0)
    norm = np.sqrt(past.sum(axis=0)) + 1e-9
    near = past.T @ past / norm / norm[:, None]
    np.fill_diagonal(near, 0)

    def recall(score: np.ndarray) -> float:
        best = np.argsort(-np.where(past > 0, -math.inf, score), axis=1)[:, :20]
        hits = np.take_along_axis(later, best, 1).sum(axis=1)
        return float((hits / np.minimum(later.sum(axis=1), 20).clip(1))[judged].mean())

    popular = np.broadcast_to(past.sum(axis=0), past.shape)
    assert recall(past @ near) > 1.8 * recall(popular)


def test_activity_and_popularity_have_long_tails(shop: tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]) -> None:
    rows, _, customers = shop
    for counts in (
        customers["behaviour_events"],
        rows.filter(pl.col("type") == "click")["sku"].value_counts()["count"],
    ):
        best = counts.sort(descending=True)
        assert best.head(len(best) // 5).sum() > 0.35 * best.sum()


def test_the_same_shop_is_reused_and_another_replaces_it(tmp_path: Path) -> None:
    out = tmp_path / "shop"
    truth = generate(out, customers=40, days=10)
    stamp = (out / "truth" / "truth.json").stat().st_mtime_ns
    assert generate(out, customers=40, days=10) == truth == DemoTruth.load(out)
    assert (out / "truth" / "truth.json").stat().st_mtime_ns == stamp
    assert generate(out, customers=41, days=10).customers == 41
    assert [p.name for p in tmp_path.iterdir()] == ["shop"]


def test_an_interrupted_run_does_not_hinder_the_next(tmp_path: Path) -> None:
    left = tmp_path / ".shop.partial" / "behaviour"
    left.mkdir(parents=True)
    (left / "2026-06-30.jsonl").write_text("half", encoding="utf-8")
    generate(tmp_path / "shop", customers=40, days=10)
    assert "half" not in (tmp_path / "shop" / "behaviour" / "2026-06-30.jsonl").read_text(encoding="utf-8")
    assert not left.exists()


def test_a_foreign_folder_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "keep.txt").write_text("keep", encoding="utf-8")
    with pytest.raises(DemoError, match="expected a new, empty or demo folder"):
        generate(tmp_path, customers=40, days=10)
    assert [p.name for p in tmp_path.iterdir()] == ["keep.txt"]


@pytest.mark.parametrize("wrong", [{"days": 121}, {"days": 0}, {"customers": 0}, {"seed": -1}])
def test_bad_sizes_are_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(DemoError, match="expected customers"):
        generate(tmp_path / "shop", **wrong)


@pytest.mark.parametrize(("customers", "days"), [(1, 1), (1, 90), (3, 30), (8, 5)])
def test_tiny_shops_stand(tmp_path: Path, customers: int, days: int) -> None:
    truth = generate(tmp_path / "shop", customers=customers, days=days)
    assert sum(truth.kinds.values()) == customers


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path / "shop"), "--customers", "30", "--days", "7"]) == 0
    assert "as_of 2026-07-01" in capsys.readouterr().out
    assert main(["--out", str(tmp_path), "--customers", "30"]) == 2
    assert "nothing was changed" in capsys.readouterr().err
