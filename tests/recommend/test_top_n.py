import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from recommend_shop import as_histories, top_n
from scipy import sparse

from profiling_spark.recommend.engines.als import FactorSide
from profiling_spark.recommend.engines.item_cf import NeighbourSide
from profiling_spark.recommend.matrix.item_side import block_rows, padded_blocks, rows_of
from profiling_spark.recommend.matrix.top_n import NONE, _largest, select_top

quick = settings(deadline=None, max_examples=50)


def engine(kind, items, rng):
    """A random item side; some items are alike, so that scores tie."""
    if kind == "als":
        factors = rng.integers(-2, 3, (items, 3)).astype(np.float32)
        return FactorSide(factors, alpha=1.0, regularisation=0.1)
    similar = rng.integers(0, 3, (items, items)) / 4 * (rng.random((items, items)) < 0.5)
    return NeighbourSide(sparse.csr_array(similar.astype(np.float32)))


@st.composite
def shops(draw):
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    items, customers = draw(st.integers(2, 40)), draw(st.integers(1, 12))
    taken = [rng.choice(items, size=rng.integers(1, items + 1), replace=False) for _ in range(customers)]
    histories = [[(int(i), float(rng.integers(1, 4))) for i in sorted(row)] for row in taken]
    return engine(draw(st.sampled_from(["als", "item_cf"])), items, rng), histories


def lists(side, histories, n, rows):
    """Item numbers and scores of every customer, computed in blocks of `rows`."""
    found = {}
    for users, block in padded_blocks(*as_histories(histories), rows=rows):
        seen = np.zeros((len(users), side.items), dtype=bool)
        for row, past in enumerate(users):
            seen[row, [i for i, _ in histories[past]]] = True
        items, scores, parts = top_n(side, block, seen, n)
        for row, user in enumerate(users):
            found[int(user)] = (items[row].tolist(), scores[row].tolist(), parts[row])
    return found


@quick
@given(shop=shops(), n=st.integers(1, 15))
def test_lists_have_no_seen_item_no_repeat_and_are_in_order(shop, n):
    side, histories = shop
    for user, (items, scores, _) in lists(side, histories, n, rows=1000).items():
        offered = [i for i in items if i != NONE]
        assert not {i for i, _ in histories[user]} & set(offered)
        assert len(set(offered)) == len(offered)
        assert items[len(offered) :] == [NONE] * (n - len(offered))
        ranked = list(zip([-s for s in scores[: len(offered)]], offered, strict=True))
        assert ranked == sorted(ranked)


@quick
@given(shop=shops(), n=st.integers(1, 15))
def test_als_fills_the_list_while_the_catalogue_allows(shop, n):
    side, histories = shop
    if side.engine != "als":
        return
    for user, (items, _, _) in lists(side, histories, n, rows=1000).items():
        taken = [i for i, _ in histories[user]]
        open_items = int(side.known.sum()) - int(side.known[taken].sum())
        # of a customer none of whose items was learned nothing is known
        expected = min(n, open_items) if side.known[taken].any() else 0
        assert sum(i != NONE for i in items) == expected


@quick
@given(shop=shops(), n=st.integers(1, 15), rows=st.integers(1, 5))
def test_lists_do_not_depend_on_the_blocks(shop, n, rows):
    side, histories = shop
    whole, cut = lists(side, histories, n, rows=1000), lists(side, histories, n, rows=rows)
    assert {u: (i, [str(x) for x in s]) for u, (i, s, _) in whole.items()} == {
        u: (i, [str(x) for x in s]) for u, (i, s, _) in cut.items()
    }


@quick
@given(shop=shops(), n=st.integers(1, 15))
def test_contributions_add_up_to_the_score(shop, n):
    side, histories = shop
    for items, scores, parts in lists(side, histories, n, rows=1000).values():
        for item, score, part in zip(items, scores, parts, strict=True):
            assert item == NONE or abs(part.sum() - score) < 1e-5


def test_equal_scores_go_by_item_number_however_many_there_are():
    scores = np.ones((1, 1000), dtype=np.float32)
    scores[0, 3] = -np.inf
    items, _ = select_top(scores, 5, lambda chosen: np.ones(chosen.shape))
    assert items.tolist() == [[0, 1, 2, 4, 5]]


def test_candidates_that_float32_cannot_tell_apart_are_ordered_by_the_exact_score():
    exact = 1 + np.arange(100)[None, :] * 1e-9
    items, _ = select_top(exact.astype(np.float32), 3, lambda chosen: np.take_along_axis(exact, chosen, axis=1))
    assert items.tolist() == [[99, 98, 97]]


def test_a_block_of_scores_takes_at_most_16_mib():
    assert block_rows(1_000_000) * 1_000_000 * 4 <= 16 * 2**20
    assert block_rows(10**9) == 1


@quick
@given(users=st.lists(st.integers(0, 9), max_size=30), wanted=st.lists(st.integers(0, 12), unique=True, max_size=8))
def test_rows_of_customers_are_found_in_a_sorted_column(users, wanted):
    ordered = np.array(sorted(users), dtype=np.int64)
    place, row = rows_of(ordered, np.array(wanted, dtype=np.int64))
    expected = [(p, r) for p, user in enumerate(wanted) for r, other in enumerate(ordered) if other == user]
    assert list(zip(place.tolist(), row.tolist(), strict=True)) == expected


def by_sorting(scores, n):
    """The same lists by sorting every row: open columns by score to nine decimals, equal ones by column."""
    found = []
    for row in scores.astype(np.float64):
        columns = sorted(np.flatnonzero(np.isfinite(row)).tolist(), key=lambda c: (-round(row[c], 9), c))[:n]
        found.append(columns + [NONE] * (n - len(columns)))
    return found


@st.composite
def score_blocks(draw):
    """Scores with many ties, sizes and open shares, around and above the size from which columns are grouped."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    rows, columns = draw(st.integers(1, 6)), draw(st.one_of(st.integers(1, 300), st.integers(1000, 6000)))
    scores = rng.normal(size=(rows, columns)) ** draw(st.sampled_from([1, 3]))
    if draw(st.booleans()):
        scores = np.round(scores * draw(st.sampled_from([1, 50])))
    scores[rng.random(scores.shape) > draw(st.sampled_from([1.0, 0.9, 0.01, 0.0]))] = -np.inf
    return (scores + draw(st.sampled_from([0, -1000]))).astype(np.float32)


@quick
@given(scores=score_blocks(), n=st.integers(1, 25))
def test_the_best_are_those_of_sorting_all(scores, n):
    exact = scores.astype(np.float64)
    items, values = select_top(scores, n, lambda chosen: np.take_along_axis(exact, chosen, axis=1))
    assert items.tolist() == by_sorting(scores, n)
    expected = np.where(items == NONE, np.nan, np.take_along_axis(exact, np.maximum(items, 0), axis=1))
    np.testing.assert_array_equal(values, np.round(expected, 9))


@quick
@given(scores=score_blocks(), n=st.integers(1, 25), seed=st.integers(0, 99))
def test_scores_that_float32_has_blurred_are_put_right(scores, n, seed):
    # exact scores within the tolerance of what was computed: the columns near the last place must all be looked at
    largest = np.where(np.isfinite(scores), np.abs(scores), 0).max(axis=1, keepdims=True).astype(np.float64)
    exact = scores + largest * np.random.default_rng(seed).uniform(-4e-6, 4e-6, scores.shape)
    items, _ = select_top(scores, n, lambda chosen: np.take_along_axis(exact, chosen, axis=1))
    assert items.tolist() == by_sorting(exact, n)


def test_what_is_equal_goes_by_the_largest_size_even_within_a_group():
    # 1e6 hides in a group whose largest score is small; beside it, scores that differ by 1 are one in float32
    scores = np.zeros((1, 1024), dtype=np.float32)
    scores[0, [3, 7, 9]] = 2, 1, -1e6
    exact = lambda chosen: np.where(chosen == 7, 2.5, scores.astype(float)[0, chosen])  # noqa: E731
    found, values = select_top(scores, 1, exact)
    assert (found.tolist(), values.tolist()) == ([[7]], [[2.5]])


def test_the_largest_finite_size_of_a_row_is_found_by_its_bits():
    greatest, least, endless = np.finfo(np.float32).max, np.float32(1e-45), np.inf
    rows = [[1, -5, endless], [-endless, endless, -endless], [0, -0.0, 0], [greatest, 1, -endless], [-least, 0, 0]]
    found = _largest(np.array(rows, dtype=np.float32))
    assert found.tolist() == [5, 0, 0, greatest, least]
