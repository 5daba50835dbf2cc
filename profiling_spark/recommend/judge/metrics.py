"""What lists are judged by. Ranking: one value per customer, from `hits` (customers, k), True where the item of that
rank is in the customer's truth, and `truths` (customers,), the sizes of the truths, above 0. The figures of an engine
are means over customers. Shape of the lists: from how often each item was offered.
"""

from __future__ import annotations

import numpy as np

from profiling_spark.recommend.matrix.item_side import Bools, Floats, Ints


def recall(hits: Bools, truths: Ints) -> Floats:
    """Hits / |truth|: LightGCN's evaluation (He et al., SIGIR 2020)."""
    share: Floats = hits.sum(axis=1) / truths
    return share


def ndcg(hits: Bools, truths: Ints) -> Floats:
    """DCG / IDCG, binary gain, discount 1 / log2(rank + 1), ideal over min(k, |truth|) (Järvelin, Kekäläinen 2002)."""
    discount = 1 / np.log2(np.arange(hits.shape[1]) + 2)
    ideal = np.r_[0.0, np.cumsum(discount)][np.minimum(truths, hits.shape[1])]
    gain: Floats = (hits * discount).sum(axis=1) / ideal
    return gain


def average_precision(hits: Bools, truths: Ints) -> Floats:
    """Mean of the precision at the rank of each hit, misses count 0: sum over hits / min(k, |truth|). Its mean is MAP@k
    (truncated as in trec_eval's map_cut, but against what a list of k can hold).
    """
    ranks = np.arange(1, hits.shape[1] + 1)
    precision: Floats = np.where(hits, hits.cumsum(axis=1) / ranks, 0.0)
    average: Floats = precision.sum(axis=1) / truths.clip(max=hits.shape[1])
    return average


def reciprocal_rank(hits: Bools, truths: Ints) -> Floats:
    """1 / rank of the first hit, 0 without one. Its mean is MRR@k."""
    first = hits.argmax(axis=1)
    rank: Floats = np.where(hits.any(axis=1), 1 / (first + 1), 0.0)
    return rank


def hit_rate(hits: Bools, truths: Ints) -> Floats:
    """1 where any item of the list is in the truth, else 0."""
    found: Floats = np.where(hits.any(axis=1), 1.0, 0.0)
    return found


RANKING = {"recall": recall, "ndcg": ndcg, "map": average_precision, "mrr": reciprocal_rank, "hit_rate": hit_rate}
SHAPE = ("coverage", "diversity", "novelty", "popularity_bias")


def coverage(offered: Ints, catalogue: int) -> float:
    """Share of the items that can be offered that stand in any list. `offered` (items,): lists that an item is in."""
    return float((offered > 0).sum() / catalogue)


def diversity(offered: Ints, lists: int) -> float:
    """1 - the share of a list that another customer's list has in common with it, mean over pairs of lists: the mean
    Hamming distance of Zhou et al. (PNAS 2010), for lists of the mean length. 0: all have the same list.
    """
    length = offered.sum() / lists
    shared = (offered * (offered - 1.0)).sum() / (lists * (lists - 1.0))
    return float(1 - shared / length)


def novelty(offered: Ints, customers_of: Ints, customers: int) -> float:
    """Mean of -log2(share of the training customers who took the item) over all places of all lists, in bits (Zhou et
    al., PNAS 2010). An item that nobody took counts as one that one customer took.
    """
    bits = -np.log2(np.maximum(customers_of, 1) / customers)
    return float((offered * bits).sum() / offered.sum())


def popularity_bias(offered: Ints, customers_of: Ints) -> float:
    """Mean number of training customers of an offered item / of an item that a customer took (over all training
    pairs). 1: lists are as popular as what customers take; above 1: they lean to the popular.
    """
    taken = (customers_of.astype(np.float64) ** 2).sum() / customers_of.sum()
    return float((offered * customers_of).sum() / offered.sum() / taken)
