"""What items are like: terms, weights and scores against scikit-learn and plain Python."""

import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recommend_shop import as_histories, top_n
from sklearn.feature_extraction.text import TfidfVectorizer

from profiling_spark.recommend.lists.content import ContentSide, content_space, item_terms, shared_kinds, words
from profiling_spark.recommend.matrix.item_side import padded_blocks

SHOP = pl.DataFrame(
    {
        "title": ["Red shoe", "red boot 7", "Blue cup", "华为手机", "小米手机", "shoe"],
        "category": ["shoes", "shoes", "cups", "phones", "phones", None],
        "subcategory": [None] * 6,
        "brand": ["Acme", "Bolt", "Acme", None, None, None],
        "price": [10.0, 90.0, 5.0, 100.0, 100.0, 3.0],
    },
    schema_overrides={"subcategory": pl.String},
)


def by_hand(text):
    """Words of a text: runs of letters and digits; Chinese runs cut into pairs of neighbours."""
    found = set()
    for run in re.findall(r"[\u4e00-\u9fff]+|[a-z0-9]+", text.lower()):
        is_chinese = "\u4e00" <= run[0] <= "\u9fff"
        found |= {run[i : i + 2] for i in range(max(len(run) - 1, 1))} if is_chinese else {run}
    return found


@given(st.lists(st.text("aZ3 -华为手机", max_size=12), max_size=6))
@settings(deadline=None)
def test_words_of_any_text(texts):
    found = words(pl.Series(texts, dtype=pl.String))
    assert set(found.rows()) == {(row, word) for row, text in enumerate(texts) for word in by_hand(text)}
    assert not found.is_duplicated().any()


def test_terms_of_an_item():
    terms = item_terms(SHOP).group_by("row").agg(pl.col("term").sort()).sort("row")["term"].to_list()
    assert terms[1] == [
        "brand:Bolt", "category:shoes", "price:shoes:2", "word:7", "word:bolt", "word:boot", "word:red", "word:shoes",
    ]  # fmt: skip
    # equal prices are in one band
    assert set(terms[3]) & set(terms[4]) == {"category:phones", "price:phones:0", "word:手机", "word:phones"}


def test_weights_are_those_of_scikit_learn():
    space = content_space(SHOP)
    terms = item_terms(SHOP).group_by("row").agg("term").sort("row")["term"].to_list()
    reference = TfidfVectorizer(analyzer=lambda row: terms[row], min_df=2, smooth_idf=True, norm="l2")
    expected = reference.fit_transform(range(len(SHOP))).toarray()
    assert space.terms == tuple(reference.get_feature_names_out())
    assert space.items.toarray() == pytest.approx(expected)


@given(seed=st.integers(0, 10_000), n=st.integers(1, 6))
@settings(deadline=None, max_examples=50)
def test_contributions_add_up_to_the_cosines(seed, n):
    rng = np.random.default_rng(seed)
    space = content_space(SHOP[rng.integers(0, 6, 12)])
    numbers = np.sort(rng.choice(12, 7, replace=False))
    history = [(int(i), float(rng.integers(1, 5))) for i in np.sort(rng.choice(12, 3, replace=False))]
    side = ContentSide(space.items, space.items[numbers])
    ((_, block),) = padded_blocks(*as_histories([history]), rows=10)
    items, scores, parts = top_n(side, block, np.zeros((1, 7), dtype=bool), n)
    dense = space.items.toarray()
    cosines = {int(j): sum(w * dense[i] @ dense[numbers[j]] for i, w in history) for j in range(7)}
    best = sorted((-round(value, 9), j) for j, value in cosines.items() if value > 0)[:n]
    assert [j for _, j in best] == items[0][items[0] >= 0].tolist()
    assert scores[0, : len(best)] == pytest.approx([-value for value, _ in best], abs=1e-9)
    assert parts[0].sum(axis=1) == pytest.approx(np.nan_to_num(scores[0]), abs=1e-5)


def test_what_two_items_share_most_is_their_rarest_common_term():
    space = content_space(SHOP)
    side = ContentSide(space.items, space.items)
    # red shoe and red boot: category, its word and "red" are equally rare, the first name is told; with the cup the
    # brand; the phones their category, the lone shoe the word
    assert shared_kinds(side, space, np.array([0, 0, 3, 0]), np.array([1, 2, 4, 5])) == [
        "category", "brand", "category", "shoe",
    ]  # fmt: skip
