"""graph_filter against dense NumPy on matrices small enough to look at."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from recommend_shop import as_histories, dense, top_n
from scipy import sparse
from scipy.sparse.linalg import svds

from profiling_spark.recommend.engines.blend import blend_side
from profiling_spark.recommend.engines.graph_filter import Band, GraphFilterSide, candidates_for, graph_filter_side
from profiling_spark.recommend.matrix.item_graph import (
    gram_block,
    gram_rows,
    image,
    item_degrees,
    normalise,
    singular_vectors,
    strongest,
)
from profiling_spark.recommend.matrix.item_side import padded_blocks
from profiling_spark.recommend.matrix.sparse_rows import row_ends, values_at
from profiling_spark.recommend.matrix.top_n import NONE

USERS, ITEMS, UNSEEN = 60, 40, 7
BANDS = (Band(3, 0.5, 0.9), Band(5, 0.2, 0.7))


def shop(seed=0):
    """Weighted histories; customer 5 has none, nobody took item 7, and singular values are well apart."""
    rng = np.random.default_rng(seed)
    taste = rng.random((USERS, 4)) @ rng.random((4, ITEMS))
    taken = np.where(rng.random((USERS, ITEMS)) < 0.25 * taste, rng.integers(1, 4, (USERS, ITEMS)), 0).astype(float)
    taken[5], taken[:, UNSEEN] = 0, 0
    return sparse.csr_array(taken)


def split(matrix, *edges):
    """The rows as blocks that end at `edges`."""
    ends = [0, *edges, matrix.shape[0]]
    return [matrix[a:b] for a, b in pairwise(ends)]


def normalised(blocks, b=0.3, a=0.4):
    degree = sum(item_degrees(block) for block in blocks)
    return [normalise(block, degree, user_exponent=b, item_exponent=a) for block in blocks]


def vectors_of(blocks, rank=8, passes=6):
    return singular_vectors(
        lambda basis: sum(image(block, basis) for block in blocks), ITEMS, rank=rank, passes=passes, seed=3
    )


def prepared(taken, *edges, bands=BANDS, neighbours=10):
    raw = split(taken, *edges)
    blocks = normalised(raw)
    near = strongest(gram_rows(blocks, slice(0, ITEMS)), neighbours)
    vectors, _ = vectors_of(blocks)
    degree = sum(item_degrees(block) for block in raw)
    return graph_filter_side(near, vectors, degree, bands=bands, sample=taken)


def histories_of(matrix, rows=1000):
    """(customer numbers, histories) of those that have any."""
    listed = matrix.tolil()
    pairs = [list(zip(i, w, strict=True)) for i, w in zip(listed.rows, listed.data, strict=True)]
    return padded_blocks(*as_histories(pairs), rows=rows)


def dense_scores(side: GraphFilterSide, matrix):
    """The formula of the module, written out; the stored vectors already carry Di^p."""
    r, degree = np.log1p(matrix.toarray()), side.degree
    scores = r @ side.neighbours.toarray().astype(float)
    begin = 0
    for end, p, w in zip(side.ends, side.exponents, side.weights, strict=True):
        up = np.where(degree > 0, np.maximum(degree, 1e-9) ** p, 0)
        down = np.where(degree > 0, np.maximum(degree, 1e-9) ** -p, 0)
        v = side.vectors[:, begin:end] * down[:, None]
        scores += w * (r * down) @ v @ (v.T * up)
        begin = end
    return scores


def test_normalise_by_hand():
    # Du = (3, 4), Di = (1, 4, 2); b = 1 and a = 1/2
    taken = sparse.csr_array(np.array([[1.0, 2.0, 0.0], [0.0, 2.0, 2.0]]))
    degree = item_degrees(taken)
    found = normalise(taken, degree, user_exponent=1.0, item_exponent=0.5).toarray()
    assert degree.tolist() == [1, 4, 2]
    assert found == pytest.approx(np.array([[1 / 3, 1 / 3, 0], [0, 1 / 4, 0.5 / 2**0.5]]))


def test_normalise_of_an_empty_customer_and_an_unseen_item_is_zero():
    taken = shop()
    found = normalised([taken])[0].toarray()
    assert np.isfinite(found).all()
    assert not found[5].any()
    assert not found[:, UNSEEN].any()


def test_gram_is_the_dense_product_whatever_the_blocks_and_ranges():
    taken = shop()
    whole = normalised([taken])[0].toarray()
    blocks = normalised(split(taken, 1, 5, 6, 33))
    rows = [gram_rows(blocks, slice(a, b)) for a, b in ((0, 1), (1, 29), (29, ITEMS))]
    found = sparse.vstack(rows).toarray()
    assert found == pytest.approx(whole.T @ whole, abs=1e-12)
    assert found == pytest.approx(found.T, abs=1e-12)


def test_a_row_of_the_gram_is_bit_for_bit_the_same_in_any_range():
    block = normalised([shop()])[0]
    wide, narrow = gram_block(block, slice(0, ITEMS)), gram_block(block, slice(11, 13))
    assert (wide[11:13].toarray() == narrow.toarray()).all()


def test_strongest_keeps_the_largest_and_of_equal_ones_the_first():
    rows = sparse.csr_array(np.array([[3.0, 1.0, 3.0, 2.0, 3.0], [0.0, 5.0, 0.0, 0.0, 0.0], [1.0, 1.0, 2.0, 1.0, 1.0]]))
    assert strongest(rows, 2).toarray().tolist() == [[3, 0, 3, 0, 0], [0, 5, 0, 0, 0], [1, 0, 2, 0, 0]]
    assert strongest(rows, 9).toarray().tolist() == rows.toarray().tolist()


def test_singular_vectors_agree_with_scipy():
    block = normalised([shop()])[0]
    vectors, squares = vectors_of([block], passes=12)
    _, values, right = svds(block, k=8)
    assert vectors.T @ vectors == pytest.approx(np.eye(8), abs=1e-5)
    assert squares == pytest.approx(np.sort(values)[::-1] ** 2, rel=1e-4)
    assert vectors @ vectors.T == pytest.approx(right.T @ right, abs=1e-3)


def test_a_few_shifted_passes_find_more_than_plain_ones():
    # values that fall slowly, as those of real histories do: what many passes hide shows here
    rng = np.random.default_rng(5)
    left, right = (np.linalg.qr(rng.standard_normal((n, 300)))[0] for n in (400, 300))
    values = 1 / np.arange(1, 301) ** 0.3
    block = sparse.csr_array((left * values) @ right.T)
    plain = np.linalg.qr(np.random.default_rng(3).standard_normal((300, 72)))[0]
    for _ in range(3):
        plain = np.linalg.qr(block.T @ (block @ plain))[0]
    best = np.linalg.svd(block @ plain, compute_uv=False)[:40]
    _, squares = singular_vectors(lambda basis: image(block, basis), 300, rank=40, passes=4, seed=3)
    kept, theirs, all_ = squares.sum(), (best**2).sum(), (values[:40] ** 2).sum()
    assert theirs < kept < all_
    assert kept > 0.97 * all_


def test_image_and_vectors_do_not_depend_on_the_blocks():
    taken = shop()
    one, many = normalised([taken]), normalised(split(taken, 2, 5, 6, 40))
    basis = np.random.default_rng(1).standard_normal((ITEMS, 6), dtype=np.float32)
    assert image(one[0], basis) == pytest.approx(sum(image(block, basis) for block in many), abs=1e-6)
    first, other = vectors_of(one, passes=12)[0], vectors_of(many, passes=12)[0]
    assert first @ first.T == pytest.approx(other @ other.T, abs=1e-4)


def test_singular_vectors_are_deterministic_and_signed():
    block = normalised([shop()])[0]
    first, again = vectors_of([block])[0], vectors_of([block])[0]
    assert (first == again).all()
    assert (np.take_along_axis(first, np.abs(first).argmax(axis=0)[None], axis=0) > 0).all()


def test_singular_vectors_of_a_matrix_of_low_rank_are_fewer():
    low = sparse.csr_array(np.outer(np.ones(9), np.arange(ITEMS)).astype(float))
    vectors, squares = vectors_of([low])
    assert vectors.shape == (ITEMS, 1)
    assert squares == pytest.approx([9 * (np.arange(ITEMS) ** 2).sum()], rel=1e-5)


def test_scores_are_the_formula():
    taken = shop()
    side = prepared(taken)
    expected = dense_scores(side, taken)
    for users, histories in histories_of(taken):
        scored = side.score(histories)
        open_items = np.arange(ITEMS) != UNSEEN
        assert scored.block()[:, open_items] == pytest.approx(expected[users][:, open_items], rel=1e-4, abs=1e-5)
        every = np.tile(np.arange(ITEMS), (len(users), 1))
        assert scored.exact(every) == pytest.approx(expected[users], rel=1e-5, abs=1e-6)


def test_scores_do_not_depend_on_how_the_model_was_made_in_blocks():
    taken = shop()
    one, many = prepared(taken), prepared(taken, 4, 5, 31)
    for _, histories in histories_of(taken):
        first, other = one.score(histories).block(), many.score(histories).block()
        assert first == pytest.approx(other, rel=1e-4, abs=1e-4)


def test_lists_do_not_depend_on_how_customers_are_put_into_blocks():
    taken = shop()
    side = prepared(taken)
    found = []
    for rows in (1000, 3):
        lists = {}
        for users, histories in histories_of(taken, rows=rows):
            items, scores, _ = top_n(side, histories, taken[users].toarray() > 0, 5)
            lists |= {int(u): (i.tolist(), s.tolist()) for u, i, s in zip(users, items, scores, strict=True)}
        found.append(lists)
    assert {u: i for u, (i, _) in found[0].items()} == {u: i for u, (i, _) in found[1].items()}
    assert [s for _, s in found[0].values()] == [pytest.approx(found[1][u][1], abs=2e-9) for u in found[0]]


def test_candidates_are_the_past_items_and_the_nearest_others_with_their_full_scores():
    taken, most = shop(), 6
    whole = prepared(taken)
    side = replace(whole, candidates=most)
    near = np.log1p(taken.toarray()) @ whole.neighbours.toarray()
    for users, histories in histories_of(taken):
        block, every = side.score(histories).block(), whole.score(histories).block()
        found = dense(block, ITEMS)
        for row, user in enumerate(users):
            past = set(taken[[user]].indices.tolist())
            others = [i for i in np.argsort(-near[user]).tolist() if i not in past and near[user, i] > 0]
            expected = sorted(past | set(others[:most]))
            assert np.flatnonzero(found[row] > -np.inf).tolist() == expected
            assert found[row, expected] == pytest.approx(every[row, expected], rel=1e-4, abs=1e-5)


def test_lists_of_candidates_are_the_best_unseen_ones_of_them():
    taken, most = shop(), 6
    side = replace(prepared(taken), candidates=most)
    for users, histories in histories_of(taken):
        seen = taken[users].toarray() > 0
        scores = np.where(seen, -np.inf, dense(side.score(histories).block(), ITEMS))
        items, values, parts = top_n(side, histories, seen, 4)
        for row, score in enumerate(scores):
            best = [i for i in np.argsort(-score, kind="stable").tolist() if np.isfinite(score[i])][:4]
            assert [i for i in items[row].tolist() if i != NONE] == best
            assert values[row, : len(best)] == pytest.approx(score[best], rel=1e-4, abs=1e-5)
        assert parts.sum(axis=2)[items != NONE] == pytest.approx(values[items != NONE], rel=1e-5)


def test_a_blend_scores_what_is_no_candidate():
    taken = shop()
    whole = prepared(taken)
    (part,) = blend_side([replace(whole, candidates=3)], (1.0,)).sides
    assert part == whole


def test_a_small_catalogue_is_scored_whole():
    assert [candidates_for(400, items) for items in (600, 102_399, 102_400)] == [0, 0, 400]
    assert candidates_for(0, 10**7) == 0


@pytest.mark.parametrize("bands", [BANDS, (Band(8, 0.5, 0.6),)])
def test_contributions_add_up_to_the_score_and_belong_to_past_items(bands):
    taken = shop()
    side = prepared(taken, bands=bands)
    for users, histories in histories_of(taken):
        items, scores, parts = top_n(side, histories, taken[users].toarray() > 0, 5)
        listed = items != NONE
        assert parts.sum(axis=2)[listed] == pytest.approx(scores[listed], rel=1e-5)
        assert not parts.transpose(0, 2, 1)[histories.weights == 0].any()


def test_a_contribution_is_the_score_of_that_past_item_alone():
    side = prepared(shop())
    both, alone = ([[(2, 1.5), (11, 3.0)]], [[(11, 3.0)]])
    chosen = np.array([[0, 20, 33]])
    found = []
    for rows in (both, alone):
        ((_, histories),) = padded_blocks(*as_histories(rows), rows=9)
        found.append(side.score(histories))
    assert found[0].contributions(chosen)[0, :, 1] == pytest.approx(found[1].exact(chosen)[0], rel=1e-5)


def test_unknown_items_are_not_offered_and_say_nothing():
    side = prepared(shop())
    rows = [[(UNSEEN, 2.0)], [(UNSEEN, 2.0), (3, 1.0)], [(3, 1.0)]]
    ((_, histories),) = padded_blocks(*as_histories(rows), rows=9)
    scored = side.score(histories)
    scores = scored.block()
    assert np.isneginf(scores[0]).all()
    assert np.isneginf(scores[:, UNSEEN]).all()
    assert scores[1].tolist() == scores[2].tolist()
    assert not scored.contributions(np.array([[0], [1], [2]]))[:2, :, 0].any()


def test_a_band_is_made_as_large_as_its_ratio_says():
    taken = shop()
    side = prepared(taken)
    dense, begin = taken.toarray(), 0

    def mean_top(scores):
        return np.sort(np.where(dense > 0, -np.inf, scores), axis=1)[:, -20:].mean()

    near = mean_top(dense @ side.neighbours.toarray())
    for number, (end, band) in enumerate(zip(side.ends, BANDS, strict=True)):
        v = side.vectors[:, begin:end].astype(float)
        assert mean_top((dense * side.back(number, np.arange(ITEMS))) @ v @ v.T) == pytest.approx(
            band.ratio * near, rel=1e-4
        )
        begin = end


def test_bands_beyond_the_rank_are_empty():
    low = sparse.csr_array(np.outer(np.arange(1, 10), np.arange(ITEMS) > 30).astype(float))
    side = prepared(low)
    assert side.vectors.shape == (ITEMS, 1)
    assert side.ends.tolist() == [1, 1]
    assert side.weights[1] == 0


def test_entries_finds_what_is_stored():
    rng = np.random.default_rng(4)
    matrix = sparse.csr_array(np.where(rng.random((9, 30)) < 0.3, rng.random((9, 30)), 0))
    row, column = (x.ravel() for x in np.indices(matrix.shape))
    assert values_at(matrix, row, column).tolist() == matrix.toarray().ravel().tolist()
    assert values_at(sparse.csr_array((9, 30)), row, column).tolist() == [0.0] * 270


def test_row_ends_are_as_narrow_as_they_can_be():
    assert row_ends(np.array([2, 0, 3])).tolist() == [0, 2, 2, 5]
    assert row_ends(np.array([2, 0, 3])).dtype == np.int32
    assert row_ends(np.array([2**31 - 1])).dtype == np.int32
    assert row_ends(np.array([2**31 - 1, 1])).tolist() == [0, 2**31 - 1, 2**31]
