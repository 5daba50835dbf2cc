"""Which features speak for a score."""

import numpy as np
import pyarrow as pa

from profiling_spark.prepare.fit import fit_preparation
from profiling_spark.scores.calibration import Calibration
from profiling_spark.scores.forest import Forest
from profiling_spark.scores.reasons import Scorer, strongest_reasons

NAMES = ("views_30d", "views_90d", "recency_days", "refunds_90d")
TYPICAL = np.array([5.0, 15.0, 12.0, 0.0])


def reasons(raw: list[float], added: list[float], above: bool) -> list[int]:
    return strongest_reasons(NAMES, np.array([raw]), TYPICAL, np.array([added]), np.array([above]))[0].tolist()


def test_above_the_average_what_raised_it_speaks_windows_together() -> None:
    # views 0.05 + 0.06 beat recency's 0.1; the 90 days added more
    assert reasons([1.0, 3.0, 41.0, 2.0], [0.05, 0.06, 0.10, -0.2], above=True) == [1, 2, -1]


def test_below_the_average_what_lowered_it_speaks() -> None:
    assert reasons([9.0, 30.0, 2.0, 2.0], [-0.05, -0.01, -0.10, 0.2], above=False) == [2, 0, -1]


def test_a_typical_value_speaks_last() -> None:
    assert reasons([1.0, 3.0, 12.0, 2.0], [0.01, 0.0, 0.10, 0.02], above=True) == [3, 0, 2]


def test_there_is_always_a_first_reason() -> None:
    assert reasons([1.0, 3.0, 41.0, 2.0], [0.0, 0.0, 0.0, 0.0], above=True)[0] >= 0


def test_a_scores_side_is_that_of_the_average_and_its_reasons_are_what_moved_it_there() -> None:
    """refunds <= 0 ? 0.1 : (views <= 3 ? 0.35 : 0.25); a fifth of all customers leave, so 0.25 is above the average."""
    forest = Forest(
        feature=np.array([1, 0, 0, 0, 0]),
        threshold=np.array([0.0, 3.0, 0.0, 0.0, 0.0]),
        left=np.array([4, 2, 2, 3, 4]),
        right=np.array([1, 3, 2, 3, 4]),
        value=np.array([0.2, 0.3, 0.35, 0.25, 0.1]),
        roots=np.array([0]),
        depth=2,
    )
    raw = np.array([[10.0, 2.0], [10.0, 0.0], [1.0, 2.0]])
    sample = np.array([[5.0, 1.0], [4.0, 1.0], [6.0, 5.0]])  # typical: 5 views, 1 refund
    preparation = fit_preparation(sample, ("views_30d", "refunds_30d"), standardise=False)
    scorer = Scorer(forest, preparation, Calibration("none"), "en", medium_from=0.3, high_from=0.6)
    columns = [pa.array(["back", "loyal", "gone"]), pa.array(raw[:, 0]), pa.array(raw[:, 1])]
    batch = pa.RecordBatch.from_arrays(columns, names=["user_id", *preparation.inputs])

    back, loyal, gone = next(iter(scorer(iter([batch])))).to_pylist()

    assert [(r["raw_score"], r["step"], r["level"]) for r in (back, loyal, gone)] == [
        (0.25, 2500, "low"),
        (0.1, 1000, "low"),
        (0.35, 3500, "medium"),
    ]
    returns, keeps = "more refunds in 30 days: 2 (typical: 1)", "fewer refunds in 30 days: 0 (typical: 1)"
    found = [[r[f"reason_{n}"] for n in (1, 2, 3)] for r in (back, loyal, gone)]
    assert found[0] == [returns, None, None]  # that many views lowered the score is no reason for it
    assert found[1] == [keeps, None, None]
    assert found[2] == [returns, "fewer product views in 30 days: 1 (typical: 5)", None]
