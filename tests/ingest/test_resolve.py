"""Which of several rows with one key survives, and the counts: against plain Python over random rows."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiling_spark.errors import ContractError
from profiling_spark.ingest.resolving.resolve import HELPERS, Group, from_json, resolve, to_json

SCHEMA = pl.Schema(
    {
        "event_id": pl.String,
        "source": pl.String,
        "file_id": pl.String,
        "flags": pl.String,
        **dict.fromkeys(("_status", "_reasons", "_warned", "_raw", "_hash", "_new"), pl.String),
        "_keep": pl.Int64,
        "_line": pl.Int64,
        "content": pl.Int64,
        "_day": pl.Date,
    }
)


def row(
    key: str | None,
    content: int,
    *,
    file: str = "a",
    keep: int | None = 1,
    status: str = "ok",
    line: int | None = None,
    source: str = "s",
) -> dict[str, Any]:
    refused = status == "rejected"
    return {
        "event_id": key,
        "source": source,
        "file_id": file,
        "flags": None,
        "_status": status,
        "_reasons": "no_user" if refused else None,
        "_warned": None,
        "_raw": f"raw {content}" if refused else None,
        "_hash": f"hash {content}" if refused else None,
        "_new": None,
        "_keep": keep,
        "_line": line,
        "content": content,
        "_day": date(2026, 1, 1 + content),
    }


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA)


def counts(groups: list[Group]) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for group in groups:
        found[group.file_id, group.status] += group.rows
    return found


rows_drawn = st.lists(
    st.builds(
        row,
        st.sampled_from(["k", "l", "m"]),
        st.integers(0, 2),
        file=st.sampled_from(["a", "b"]),
        keep=st.sampled_from([None, 1, 2]),
        status=st.sampled_from(["ok", "ok", "ok", "rejected", "ignored"]),
    ),
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(rows_drawn, st.randoms(use_true_random=False))
def test_survivors_and_counts_are_those_of_plain_python(rows: list[dict[str, Any]], random: Any) -> None:
    kept, expected = {}, Counter[tuple[str, str]]()
    for key in ("k", "l", "m"):
        good = [r for r in rows if r["event_id"] == key and r["_status"] == "ok"]
        good.sort(key=lambda r: (-(r["_keep"] or 0), -r["content"], r["file_id"]))
        for before, this in zip([None, *good], good, strict=False):
            if before is None:
                kept[key] = (this["content"], this["file_id"])
                expected[this["file_id"], "accepted"] += 1
            else:
                how = "duplicate" if before["content"] == this["content"] else "superseded"
                expected[this["file_id"], how] += 1
    for r in rows:
        if r["_status"] != "ok":
            expected[r["file_id"], r["_status"]] += 1
    random.shuffle(rows)
    found = resolve(frame(rows), key=["event_id"], content=["content"], order=["event_id"])
    assert {r["event_id"]: (r["content"], r["file_id"]) for r in found.accepted.to_dicts()} == kept
    assert found.accepted["event_id"].is_sorted()
    assert not set(HELPERS) & set(found.accepted.columns)
    assert counts(found.groups) == expected


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.builds(
            row,
            st.sampled_from("kl"),
            st.just(1),
            file=st.sampled_from(["a", "b"]),
            line=st.integers(1, 3),
            source=st.sampled_from(["till", "web"]),
        ),
        max_size=14,
    ),
    st.randoms(use_true_random=False),
)
def test_equal_rows_are_counted_by_file_and_differences_elsewhere_named(
    rows: list[dict[str, Any]], random: Any
) -> None:
    for r in rows:  # ids hold their source
        r["event_id"] = f"{r['source']} {r['event_id']}"
    random.shuffle(rows)
    found = resolve(frame(rows), key=["event_id"], content=["content"], order=["event_id"], counted=["till"])
    most = Counter[str]()
    for file in "ab":
        most |= Counter(r["event_id"] for r in rows if r["file_id"] == file)
    expected = {key for key in most if key.startswith("web")}
    for key, n in most.items():
        if key.startswith("till"):
            expected |= {key if k == 1 else f"{key}-{k}" for k in range(1, n + 1)}
    assert sorted(found.accepted["event_id"]) == sorted(expected)
    # of those that count once, every further text that there is
    texts = {(r["event_id"], r["_line"]) for r in rows if r["source"] == "web"}
    differ = sum(g.rows for g in found.groups if g.differs and g.source == "web")
    assert differ == len(texts) - len({key for key, _ in texts})


def test_refused_rows_are_folded_by_file_and_text() -> None:
    rows = [row("k", 1, status="rejected") for _ in range(3)] + [row("l", 1, file="b", status="rejected")]
    found = resolve(frame(rows), key=["event_id"], content=["content"], order=["event_id"])
    refused = {
        (r["file_id"], r["row_hash"], r["raw"], r["reasons"], r["occurrences"]) for r in found.refused.to_dicts()
    }
    assert refused == {("a", "hash 1", "raw 1", "no_user", 3), ("b", "hash 1", "raw 1", "no_user", 1)}


def test_groups_tell_days_and_the_first_examples_and_travel_as_json() -> None:
    rows = [row("k", n, status="rejected") for n in (5, 3, 4, 9, 1)]
    (group,) = resolve(frame(rows), key=["event_id"], content=["content"], order=["event_id"]).groups
    assert (group.first, group.last) == (date(2026, 1, 2), date(2026, 1, 10))
    assert group.examples == ("raw 1", "raw 3", "raw 4")
    assert from_json(to_json([group])) == [group]


def test_a_null_key_stops_the_run() -> None:
    with pytest.raises(ContractError, match="event_id"):
        resolve(frame([row(None, 1)]), key=["event_id"], content=["content"], order=["event_id"])
