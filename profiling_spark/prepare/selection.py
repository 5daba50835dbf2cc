"""Which features predict a label: six rankings of one sample, and the choice of the best.

Every method sees features as a model does: missing values filled by `fit_preparation`. Results do not depend on the
order of the columns; the same rows in the same order (`Sample` has one) give the same figures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression

from profiling_spark.errors import ConfigError, InputError
from profiling_spark.prepare.fit import fit_preparation

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LABEL_METHODS = ("correlation", "chi_square", "information_gain", "lasso", "recursive_elimination")
METHODS = ("variance", *LABEL_METHODS)

RANKING_ROWS = 20_000  # 90 features of so many rows take seconds; the error of a correlation is 0.007
BINS = 10
FOLDS = 5
# The lasso's C, in multiples of the least C that gives any feature a coefficient
LASSO_PATH = (2, 4, 8, 16, 32, 64)
ELIMINATED_SHARE = 0.1  # of the remaining features a round, at least one
# liblinear penalises the intercept too, less by this factor: with 4 % of label 1 coefficients are within 0.013 of those
# with a free intercept (0.09 without the factor)
_INTERCEPT_SCALING = 10.0
# Scores that differ only beyond are a tie: there, sums depend on where a column lies in memory
_DIGITS, _DECIMALS = 9, 12


@dataclass(frozen=True)
class Ranking:
    """One feature's place by one method: `rank` 1 is the best, `score` 0 is of one without information.

    variance: of the values scaled to 0..1 by their minimum and maximum, at most 0.25; one far outlier makes it small.
    correlation: absolute Pearson correlation with the label, 0 to 1.
    chi_square: Pearson's statistic of bins by label; by chance about the number of bins less 1.
    information_gain: mutual information of bin and label, in nats.
    lasso: absolute coefficient, in log odds per standard deviation of the prepared feature.
    recursive_elimination: how many other features were eliminated before it.
    """

    method: str
    feature: str
    rank: int
    score: float


def rank_features(values: Floats, label: Floats, names: Sequence[str], *, seed: int) -> list[Ranking]:
    """All methods over all features, method by method, best first, ties by name.

    `values` is rows by `names`, NaN where missing; `label` is 0 or 1. A feature without a known value or without spread
    comes last with score 0. `seed` orders the lasso's coordinate descent. Raises InputError below 5 rows of a label.
    """
    _require_both(label)
    order = sorted(range(len(names)), key=lambda j: names[j])
    by_name, columns = [names[j] for j in order], values[:, order]
    scaled = fit_preparation(columns, by_name)
    usable = scaled.names
    scores: dict[str, Floats] = {method: np.empty(0) for method in METHODS}
    if usable:
        known = columns[:, [by_name.index(n) for n in usable]]
        filled = fit_preparation(known, usable, standardise=False).matrix(known)
        prepared = scaled.matrix(known)
        tables = [contingency(bins(column), label) for column in filled.T]
        scores = {
            "variance": _variances(filled),
            "correlation": _correlations(filled, label),
            "chi_square": np.array([chi_square(t) for t in tables]),
            "information_gain": np.array([information_gain(t) for t in tables]),
            "lasso": np.abs(lasso_coefficients(prepared, label, seed=seed)),
            "recursive_elimination": _outlived(prepared, label),
        }
    return [row for method in METHODS for row in _ranked(method, scores[method], usable, by_name)]


def select(rankings: Iterable[Ranking], *, keep: int, methods: Sequence[str] = LABEL_METHODS) -> list[str]:
    """At most `keep` features, best first: by their mean rank over `methods` (one is that method's own order).

    Ties by name. A feature with score 0 in all of `methods` is never kept. Raises ConfigError for an unknown method,
    none, or `keep` below 1.
    """
    unknown = sorted(set(methods) - set(METHODS))
    if unknown or not methods:
        raise ConfigError(f"methods of selection: expected some of {', '.join(METHODS)}, found {list(methods)}")
    if keep < 1:
        raise ConfigError(f"features to keep: expected at least 1, found {keep}")
    ranks: dict[str, list[int]] = defaultdict(list)
    informative = set()
    for row in rankings:
        if row.method in methods:
            ranks[row.feature].append(row.rank)
            if row.score > 0:
                informative.add(row.feature)
    return sorted(informative, key=lambda name: (sum(ranks[name]) / len(ranks[name]), name))[:keep]


def bins(values: Floats) -> Ints:
    """Tenths of the rows by the mid-rank of their value: bin 0 to 9, equal values in one bin.

    Mid-ranks keep a value that most rows share (0 orders, a flag) apart from the rest, above or below it, where
    quantiles as bin edges would coincide.
    """
    twice = np.rint(2 * rankdata(values)).astype(np.int64) - 1  # whole numbers: no bin hangs on rounding
    found: Ints = twice * BINS // (2 * len(values))
    return found


def contingency(binned: Ints, label: Floats) -> Floats:
    """Rows by bin (of those that occur) and label (0, 1)."""
    counts = np.bincount(2 * binned + (label == 1), minlength=2 * BINS).reshape(-1, 2).astype(np.float64)
    found: Floats = counts[counts.sum(axis=1) > 0]
    return found


def chi_square(table: Floats) -> float:
    """Sum of (observed - expected)^2 / expected over a contingency table (Pearson 1900), without correction.

    The same as the sum of scikit-learn's `chi2` over indicators of the bins.
    """
    expected = _expected(table)
    return float(((table - expected) ** 2 / expected).sum())


def information_gain(table: Floats) -> float:
    """Mutual information of a contingency table's sides: sum of p(b, l) ln(p(b, l) / (p(b) p(l))), in nats.

    Cover and Thomas, Elements of Information Theory, 2nd ed., equation 2.28. By chance about (bins - 1) / (2 rows).
    """
    occurring = table > 0
    ratios = np.log(table[occurring] / _expected(table)[occurring])
    return max(float((table[occurring] * ratios).sum() / table.sum()), 0.0)


def lasso_coefficients(prepared: Floats, label: Floats, *, seed: int) -> Floats:
    """Logistic regression with an L1 penalty (Tibshirani 1996): coefficients, 0 where the feature adds nothing.

    C is the smallest on LASSO_PATH whose held-out log loss is within a standard error of the best (Hastie, Tibshirani
    and Friedman, The Elements of Statistical Learning, 2nd ed., 7.10). Folds go by row order within each label.
    """
    # Friedman, Hastie and Tibshirani 2010, 2.5: below, all coefficients are 0
    steepest = float(np.abs(prepared.T @ (label - label.mean())).max())
    if steepest <= len(label) * np.finfo(np.float64).eps:
        return np.zeros(prepared.shape[1])
    path = [multiple / steepest for multiple in LASSO_PATH]
    fold = _folds(label)
    losses = np.array([_held_out_losses(prepared, label, fold, _lasso(c, seed)) for c in path])
    means = losses.mean(axis=1)
    best = int(means.argmin())
    allowed = means[best] + losses[best].std(ddof=1) / np.sqrt(FOLDS)
    chosen = path[int(np.flatnonzero(means <= allowed)[0])]
    found: Floats = _lasso(chosen, seed).fit(prepared, label).coef_[0]
    return found


def eliminated(prepared: Floats, label: Floats) -> list[int]:
    """Columns in the order of elimination: fit a logistic regression, drop the smallest |coefficients|, fit again.

    Guyon, Weston, Barnhill and Vapnik 2002, with ridge logistic regression for their support vector machine. A round
    drops a tenth of what remains, so 90 features take 30 fits; from 19 features on one at a time. Of equals the last.
    """
    remaining, dropped = list(range(prepared.shape[1])), list[int]()
    while len(remaining) > 1:
        weights = np.abs(_ridge().fit(prepared[:, remaining], label).coef_[0])
        count = max(1, int(ELIMINATED_SHARE * len(remaining)))
        weakest = sorted(range(len(remaining)), key=lambda i: (_rounded(weights[i]), -i))[:count]
        dropped += [remaining[i] for i in weakest]
        remaining = [column for i, column in enumerate(remaining) if i not in set(weakest)]
    return dropped + remaining


def _require_both(label: Floats) -> None:
    ones = int((label == 1).sum())
    if min(ones, len(label) - ones) < FOLDS:
        raise InputError(f"feature rankings: expected {FOLDS} rows of each label, found {len(label) - ones} and {ones}")


def _variances(filled: Floats) -> Floats:
    low = filled.min(axis=0)
    found: Floats = ((filled - low) / (filled.max(axis=0) - low)).var(axis=0)
    return found


def _correlations(filled: Floats, label: Floats) -> Floats:
    """|Pearson|, with a 0/1 label the same as the point-biserial correlation."""
    centred, sign = filled - filled.mean(axis=0), label - label.mean()
    found: Floats = np.abs(centred.T @ sign) / (np.linalg.norm(centred, axis=0) * np.linalg.norm(sign))
    return found


def _outlived(prepared: Floats, label: Floats) -> Floats:
    places = np.empty(prepared.shape[1])
    places[eliminated(prepared, label)] = np.arange(prepared.shape[1])
    return places


def _expected(table: Floats) -> Floats:
    """Counts if bin and label were independent."""
    found: Floats = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    return found


def _folds(label: Floats) -> Ints:
    """Fold of each row: rows of one label take turns."""
    fold = np.empty(len(label), dtype=np.int64)
    for side in (label == 1, label != 1):
        fold[side] = np.arange(side.sum()) % FOLDS
    return fold


def _held_out_losses(prepared: Floats, label: Floats, fold: Ints, model: LogisticRegression) -> list[float]:
    """By fold: mean negative log likelihood of its rows, in nats, by the model fitted on the other folds."""
    sign, losses = np.where(label == 1, 1.0, -1.0), []
    for k in range(FOLDS):
        held_out = fold == k
        odds = model.fit(prepared[~held_out], label[~held_out]).decision_function(prepared[held_out])
        losses.append(float(np.logaddexp(0.0, -sign[held_out] * odds).mean()))
    return losses


def _lasso(c: float, seed: int) -> LogisticRegression:
    return LogisticRegression(
        l1_ratio=1.0, solver="liblinear", C=c, intercept_scaling=_INTERCEPT_SCALING, max_iter=1000, random_state=seed
    )


def _ridge() -> LogisticRegression:
    """Newton steps: exact within few iterations also where windows of one feature nearly repeat each other."""
    return LogisticRegression(C=1.0, solver="newton-cholesky")


def _ranked(method: str, scores: Floats, usable: Sequence[str], names: Sequence[str]) -> list[Ranking]:
    found: Mapping[str, float] = {n: _rounded(s) for n, s in zip(usable, scores, strict=True)}
    order = sorted(names, key=lambda n: (n not in found, -found.get(n, 0.0), n))
    return [Ranking(method, n, place, found.get(n, 0.0)) for place, n in enumerate(order, start=1)]


def _rounded(score: float) -> float:
    return round(float(f"{score:.{_DIGITS}g}"), _DECIMALS)
