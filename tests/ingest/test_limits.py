"""When so much is refused, or ends, that a run must not publish; what quality_metrics says of a source."""

from __future__ import annotations

import pytest

from profiling_spark.config.quality import Ingest
from profiling_spark.config.sources import Source
from profiling_spark.contracts.silver import EVENTS, USERS
from profiling_spark.errors import QualityError
from profiling_spark.ingest.findings.quality import check_ends, check_limits, metric_rows
from profiling_spark.ingest.resolving.resolve import Ends, Group


@pytest.mark.parametrize(
    ("accepted", "faulty", "anonymous", "both", "setting"),
    [
        # of a quarter and of a half just as much is allowed
        (1, 1, 2, 0, None),
        (1, 2, 1, 0, "max_rejected_share"),
        (1, 0, 2, 0, "max_no_user_share"),
        # a row without a user that is wrong elsewhere too is a wrong one
        (2, 0, 1, 1, None),
        (1, 0, 1, 2, "max_rejected_share"),
    ],
)
def test_a_limit_is_passed_by_more_than_its_share(accepted, faulty, anonymous, both, setting):
    counted = {None: accepted, "bad_event_time": faulty, "no_user": anonymous, "bad_event_time,no_user": both}
    groups = [Group("log", "f", "rejected" if why else "accepted", n, reasons=why) for why, n in counted.items() if n]
    limits = Ingest(max_rejected_share=0.25, max_no_user_share=0.5)
    where = lambda source, file_id, raw: file_id  # noqa: E731
    if setting is None:
        check_limits(groups, EVENTS, limits, where)
        return
    with pytest.raises(QualityError, match=rf"allowed by ingest\.{setting} is a share"):
        check_limits(groups, EVENTS, limits, where)


def test_a_snapshot_may_end_its_share_of_the_keys_and_no_more():
    source = Source(
        format="csv", path="*", target="items", columns={"item_id": "i"}, snapshot=True, max_ended_share=0.5
    )
    tasks = [Ends("shop", "f", rows=0, alive=2), Ends("shop", "f", rows=1, alive=0)]  # each knows some keys
    check_ends([*tasks, Ends("shop", "g", rows=1, alive=0)], {"shop": source})
    with pytest.raises(QualityError, match=r"last file is f lacks 2 of the 3 keys .*a share of 0\.5"):
        check_ends([*tasks, Ends("shop", "f", rows=1, alive=1)], {"shop": source})


def test_a_source_that_read_nothing_has_its_metrics_all_the_same():
    """A file that was between two others is empty now: what the later one says is a repeat, and no row was read."""
    moved = [Group("people", "third", "accepted", -1), Group("people", "third", "duplicate", 1)]
    found = metric_rows("run", moved, USERS, Ingest())
    assert ("bad_age", "reject") in {(rule, level) for _, _, _, rule, level, *_ in found}
    assert {(*row[:3], *row[6:]) for row in found} == {("run", "people", "users", 0, 0, 0.0)}
