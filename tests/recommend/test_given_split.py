"""Interaction files, the given split, the hold-out for tuning, and the tool over them on a shop of planted tastes."""

from __future__ import annotations

import json
from contextlib import nullcontext

import numpy as np
import pytest
import yaml

from profiling_spark import runner
from profiling_spark.cli import execute
from profiling_spark.cli.main import main
from profiling_spark.errors import InputError
from profiling_spark.recommend.files.split import held_out, read_interactions, split_pairs, units_where
from profiling_spark.recommend.history.interactions import UNITS
from profiling_spark.recommend.judge.intervals import interval, poisson_weights
from profiling_spark.recommend.judge.protocols import ALL_ITEMS

GROUPS, GROUP_ITEMS = 4, 10


def rows_of(frame):
    pairs = frame.groupBy("user_id", "item_id").agg(units_where().alias("units"))
    return sorted((r["user_id"], r["item_id"], r["units"] / UNITS) for r in pairs.collect())


def frame_of(spark, rows):
    """Of (user, item, weight), without times."""
    schema = "user_id string, item_id string, weight double, time timestamp, event_type string"
    return spark.createDataFrame([(*row, None, None) for row in rows], schema)


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.fixture
def session(spark, monkeypatch):
    """The tool in the session of the tests, which it must not stop."""

    monkeypatch.setattr(execute, "start", lambda _: None)
    monkeypatch.setattr(runner, "session_for", lambda *_, **__: nullcontext(spark))


@pytest.fixture
def shop(tmp_path):
    """Customers who take items of one group; the test items are of the same group. Lines of both files."""
    rng = np.random.default_rng(3)
    lines = {"train": [], "test": []}
    for user in range(60):
        tastes = rng.permutation(GROUP_ITEMS) + GROUP_ITEMS * (user % GROUPS)
        lines["train"].append(" ".join(map(str, [user, *tastes[:6]])))
        lines["test"].append(" ".join(map(str, [user, *tastes[6:8]])))
    lines["test"].append("777 3 4")  # unknown: cannot be served
    return {name: write(tmp_path / f"{name}.txt", "\n".join(text) + "\n") for name, text in lines.items()}


def run(capsys, *arguments):
    code = main(
        ["evaluate_recommender", *arguments, "--set", "spark.shuffle_partitions=2", "--set", "recommend.rank=6"]
    )
    return code, capsys.readouterr()


def test_lines_have_each_pair_once(spark, tmp_path):
    path = write(tmp_path / "x.txt", "7 1 2 2\n8\n9 1  3 \n")
    assert rows_of(read_interactions(spark, path)) == [("7", "1", 1), ("7", "2", 1), ("9", "1", 1), ("9", "3", 1)]


def test_columns_may_have_weight_and_time_in_any_order(spark, tmp_path):
    path = write(tmp_path / "x.csv", "time,item,user,weight\n100,a,u,2\n2026-01-02,a,u,0.5\n300,b,u,-1\n")
    found = read_interactions(spark, path)
    assert rows_of(found) == [("u", "a", 2.5), ("u", "b", -1)]
    times = sorted((r["item_id"], r["time"].isoformat()[:16]) for r in found.collect())
    assert times == [("a", "1970-01-01T00:01"), ("a", "2026-01-02T00:00"), ("b", "1970-01-01T00:05")]
    found.drop("weight").write.parquet(str(tmp_path / "y.parquet"))
    assert rows_of(read_interactions(spark, str(tmp_path / "y.parquet"))) == [("u", "a", 1), ("u", "b", 1)]


def test_files_that_cannot_be_used_are_named(spark, tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.txt: expected a readable file"):
        read_interactions(spark, str(tmp_path / "nowhere.txt"))
    path = write(tmp_path / "x.csv", "customer,item\nu,a\n")
    with pytest.raises(InputError, match="expected columns user and item, found customer, item"):
        read_interactions(spark, path)


def test_a_share_of_each_customers_pairs_is_held_out(spark):
    frame = frame_of(spark, [(f"u{n}", f"i{i:02d}", 2.5) for n in (3, 10, 11) for i in range(n)])
    train, validation = held_out(frame, share=0.2, salt=42)
    assert sorted(rows_of(train) + rows_of(validation)) == rows_of(frame)
    counted = {r["user_id"]: r["count"] for r in validation.groupBy("user_id").count().collect()}
    assert counted == {"u10": 2, "u11": 2}
    assert rows_of(held_out(frame.repartition(3), share=0.2, salt=42)[1]) == rows_of(validation)


def test_the_latest_are_held_out_where_times_are_known(spark):
    frame = spark.sql(
        "SELECT 'u' AS user_id, concat('i', id) AS item_id, 1D AS weight, timestamp_seconds((id * 7) % 10) AS time, "
        "if(id = 4, 'view', 'purchase') AS event_type FROM range(10)"
    )
    validation = held_out(frame, share=0.3, salt=1)[1]
    found = sorted((r["item_id"], r["event_type"]) for r in validation.collect())
    assert found == [("i1", "purchase"), ("i4", "view"), ("i7", "purchase")]


def test_pairs_say_what_is_new_and_what_comes_again(spark):
    train = frame_of(spark, [("u", "a", None), ("u", "b", 1.0), ("u", "b", -2.0)])
    test = frame_of(spark, [("u", "a", 1.0), ("u", "b", 1.0), ("u", "c", None)])
    found = split_pairs(train, test, partitions=2).collect()
    split = {r["item_id"]: (r["is_train"], r["is_truth"], r[ALL_ITEMS.truth]) for r in found}
    # b was refunded: nothing to learn from, but seen
    assert split == {"a": (True, False, True), "b": (False, False, True), "c": (False, True, True)}


def evaluated(capsys, *arguments):
    code, printed = run(capsys, *arguments, "--json", "--quiet")
    assert code == 0
    return json.loads(printed.out)


def test_engines_find_planted_tastes_and_popular_does_not(session, shop, capsys):
    files = ("--train", shop["train"], "--test", shop["test"])
    found = evaluated(capsys, "--engine", "graph_filter", *files)
    # two of the four items of the group that are left: the best five can hold them all
    assert found["recall@5"] > 0.75
    assert found["beside"]["item_cf"]["recall@5"] > 0.95
    assert found["beside"]["popular"]["recall@5"] < 0.6
    assert found["beside"]["own_history"]["share_served"] == 0
    assert (found["customers"], found["share_served"]) == (60, round(60 / 61, 5))
    assert set(found["seconds"]) == {"session", "read", "fit", "fit beside", "rank"}
    assert found["protocol"] == "new_items"
    neighbours = evaluated(capsys, "--engine", "user_cf", *files, "--alone")
    assert neighbours["recall@5"] > 0.95
    assert neighbours["beside"] == {}


def test_a_blend_is_as_good_as_its_best_engine_where_its_weights_are_chosen(session, shop, capsys):
    files = ("--train", shop["train"], "--test", shop["test"], "--validation", "0.34")
    found = evaluated(capsys, "--engine", "blend", "--blend", "popular,item_cf", *files)
    assert found["weights"]["item_cf"] > found["weights"]["popular"]
    assert sum(found["weights"].values()) == 1
    assert found["recall@5"] > 0.95


def test_ratings_are_predicted(session, tmp_path, capsys):
    rows = [(f"u{u}", f"i{i}", 1 + (u + i) % 5) for u in range(12) for i in range(12)]
    parts = {"train": rows[::2], "test": rows[1::2]}
    head = "user,item,rating\n"
    files = [
        text
        for name, part in parts.items()
        for text in (f"--{name}", write(tmp_path / f"{name}.csv", head + "".join(f"{u},{i},{r}\n" for u, i, r in part)))
    ]
    found = evaluated(capsys, "--engine", "explicit_mf", *files)
    mean = np.mean([r for *_, r in parts["train"]])
    off = [r - mean for *_, r in parts["test"]]
    assert found["ratings"] == 72
    assert found["errors"]["mean"] == {
        "rmse": pytest.approx(np.sqrt(np.mean(np.square(off))), abs=1e-5),
        "mae": pytest.approx(np.mean(np.abs(off)), abs=1e-5),
    }
    assert set(found["errors"]) == {"mean", "biases", "item_cf", "explicit_mf"}


def test_repeat_purchases_count_in_a_protocol_of_their_own(session, shop, tmp_path, capsys):
    again = write(tmp_path / "again.txt", "0 1\n1 11 12\n" + "".join(f"{u} {u}\n" for u in range(2, 6)))
    code, printed = run(capsys, "--engine", "own_history", "--train", again, "--test", again, "--json")
    assert code == 4  # nothing new for anybody
    mixed = write(tmp_path / "mixed.txt", "0 1 2\n1 11 13\n")
    code, printed = run(capsys, "--engine", "own_history", "--train", again, "--test", mixed, "--json")
    found = json.loads(printed.out)
    assert code == 0
    assert (found["recall@20"], found["share_served"]) == (0, 0)
    assert found["all_items"]["recall@20"] == 0.5
    assert found["beside"]["popular"]["all_items"]["recall@20"] == 0.75  # nobody took 13 before


# popular: a of three customers, b and c of two, d of one
BEHAVIOUR = """user,item,event_type
u,a,purchase
u,b,view
v,a,View
v,b,purchase
v,c,purchase
w,a,purchase
w,c,cart
w,a,view
x,d,purchase
"""
LATER = "u a b\nv a\nw c d\n"
TWO, THREE, FOUR = 1 / np.log2(3), 1 / 2, 1 / np.log2(5)  # discounts of the ranks


@pytest.mark.parametrize(
    ("options", "ndcg"),
    [
        # of w d is new: b, d
        (["--mask", "seen"], {"w": TWO}),
        # u: b, c, d and b is wanted; v: a, d and a is wanted; w: b, c, d and c and d are wanted
        (["--mask", "bought"], {"u": 1, "v": 1, "w": (TWO + THREE) / (1 + TWO)}),
        (["--mask", "nothing"], {"u": 1, "v": 1, "w": (THREE + FOUR) / (1 + TWO)}),
        # v: a among a and d; w: c and d among all four, of which it knows a; u has none
        (["--negatives", "v d\nw a b\n"], {"v": 1, "w": (THREE + FOUR) / (1 + TWO)}),
    ],
)
def test_what_is_masked_and_what_is_ranked_by_hand(session, tmp_path, capsys, options, ndcg):
    train, test = write(tmp_path / "train.csv", BEHAVIOUR), write(tmp_path / "test.txt", LATER)
    given = [write(tmp_path / "given.txt", text) if " " in text else text for text in options]
    found = evaluated(
        capsys, "--engine", "popular", "--train", train, "--test", test, *given, "--bootstrap", "50"
    )  # fmt: skip
    values = np.array(list(ndcg.values()))
    assert found["customers"] == len(ndcg)
    assert found["ndcg@5"] == pytest.approx(values.mean(), abs=1e-5)
    drawn = poisson_weights(list(ndcg), 50).astype(float)
    with np.errstate(invalid="ignore"):
        expected = interval((drawn * values[:, None]).sum(axis=0) / drawn.sum(axis=0))
    assert found["intervals"]["ndcg@5"] == pytest.approx(list(expected), abs=1e-5)
    mean, low, high = found["beside"]["item_cf"]["gain_over_popular"]["ndcg@5"]
    assert low <= mean <= high
    assert mean == pytest.approx(found["beside"]["item_cf"]["ndcg@5"] - found["ndcg@5"], abs=2e-5)


def test_event_types_that_say_nothing_of_purchases_are_refused(session, tmp_path, capsys):
    train = write(tmp_path / "train.csv", BEHAVIOUR.replace("purchase", "buy"))
    files = ("--engine", "popular", "--train", train, "--test", write(tmp_path / "test.txt", LATER))
    code, printed = run(capsys, *files, "--mask", "bought")
    assert code == 4
    assert "expected event types such as purchase, refund, review to mask what was bought, found buy" in printed.err
    assert run(capsys, *files)[0] == 0


def test_the_table_says_the_protocol_and_the_intervals(session, tmp_path, capsys):
    train, test = write(tmp_path / "train.csv", BEHAVIOUR), write(tmp_path / "test.txt", LATER)
    files = ("--engine", "item_cf", "--train", train, "--test", test)
    code, printed = run(capsys, *files, "--mask", "bought", "--bootstrap", "20")
    assert code == 0
    assert "bought masked: what a customer had bought is neither offered nor looked for" in printed.out
    assert "95 % intervals by bootstrap over customers" in printed.out
    assert sum(", gain " in line for line in printed.out.splitlines()) == 4  # two figures of two engines


def test_tuning_looks_at_training_pairs_only_and_can_be_saved(session, shop, tmp_path, capsys):
    options = ("--engine", "item_cf", "--train", shop["train"], "--validation", "0.34")
    empty = write(tmp_path / "empty.txt", "0 39\n")
    chosen = []
    for test in (shop["test"], empty):
        saved = tmp_path / "chosen.yaml"
        code, printed = run(capsys, *options, "--test", test, "--tune", "item_cf.neighbours=1,8", "--save", str(saved))
        assert code == 0
        assert "chosen on held-out training pairs: recommend.item_cf.neighbours=8" in printed.out
        chosen.append(yaml.safe_load(saved.read_text(encoding="utf-8")))
    assert chosen == [{"recommend": {"item_cf": {"neighbours": 8}}}] * 2
    assert printed.err.count("on held-out training pairs") == 2


def test_als_finds_its_settings_in_a_budget_and_says_what_it_tried(session, shop, tmp_path, capsys):
    saved = tmp_path / "chosen.yaml"
    poor = ("--set", "recommend.als_trials=5", "--set", "recommend.alpha=0.01", "--set", "recommend.regularisation=40")
    options = ("--engine", "als", "--alone", "--train", shop["train"], *poor)
    code, printed = run(capsys, *options, "--test", shop["test"], "--tune", "--save", str(saved))
    assert code == 0
    *tried, chosen = [line for line in printed.err.splitlines() if "NDCG@20" in line or line.startswith("chosen")]
    assert 2 <= len(tried) <= 5
    assert tried[0].startswith("rank 6, iterations 5, regularisation 40, alpha 0.01: NDCG@20 ")
    assert f"{len(tried)} trials" in chosen
    found = yaml.safe_load(saved.read_text(encoding="utf-8"))["recommend"]
    assert sorted(found) == ["alpha", "iterations", "rank", "regularisation"]
    best = max(tried, key=lambda line: float(line.partition("NDCG@20 ")[2].split()[0]))
    assert f"regularisation {found['regularisation']:g}, alpha {found['alpha']:g}:" in best
    assert run(capsys, *options, "--test", shop["test"], "--tune", "--set", "recommend.als_trials=0")[0] == 2


def test_a_grid_that_is_given_is_kept_and_its_edge_said(session, shop, capsys):
    files = ("--train", shop["train"], "--test", shop["test"])
    code, printed = run(capsys, "--engine", "item_cf", *files, "--alone", "--tune", "item_cf.neighbours=1,2,8")
    assert code == 0
    assert "recommend.item_cf.neighbours=8: the best is at the edge of what was tried" in printed.err


def test_the_table_has_every_figure(session, shop, capsys):
    code, printed = run(capsys, "--engine", "item_cf", "--train", shop["train"], "--test", shop["test"])
    assert code == 0
    lines = [line.split() for line in printed.out.splitlines()]
    assert ["item_cf", "popular", "own_history"] in lines
    for name in ("recall", "ndcg", "map", "mrr", "hit_rate", "coverage", "diversity", "novelty", "popularity_bias"):
        for k in (5, 10, 20):
            (cells,) = (cells for cells in lines if cells[:1] == [f"{name}@{k}"])
            assert len(cells) == 4


@pytest.mark.parametrize(
    "wrong",
    [
        ["--tune", "alpha"],
        ["--validation", "2"],
        ["--save", "x.yaml"],
        ["--engine", "x"],
        ["--blend", "als,als"],
        ["--engine", "blend", "--tune"],
        ["--engine", "explicit_mf", "--tune", "rank=3"],
        ["--engine", "explicit_mf", "--mask", "bought"],
        ["--mask", "viewed"],
        ["--mask", "bought", "--negatives", "x"],
        ["--bootstrap", "-1"],
    ],
)
def test_a_wrong_command_line_starts_nothing(wrong, capsys):
    code, _ = run(capsys, "--engine", "als", "--train", "a", "--test", "b", *wrong)
    assert code == 2
