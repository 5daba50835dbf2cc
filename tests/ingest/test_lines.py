"""Rows are found on their line again, from the raw text that rejected_rows keeps."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profiling_spark.config.sources import Source
from profiling_spark.ingest.findings.lines import line_numbers


def source(kind: str = "csv", **more: Any) -> Source:
    columns = {"event_time": "a", "user_id": "b", "event_type": "c"}
    base = {"format": kind, "path": "x", "target": "events", "columns": columns, "event_types": {"v": "view"}}
    return Source.model_validate({**base, **more})


def kept(*values: str | None) -> str:
    """The raw text of a row of CSV."""
    return json.dumps(dict(zip("abc", values, strict=True)), ensure_ascii=False)


def test_the_first_of_equal_rows_in_every_kind_of_file(tmp_path: Path) -> None:
    def found(name: str, content: bytes, of: Source, *texts: str) -> dict[str, int]:
        (tmp_path / name).write_bytes(content)
        return line_numbers(str(tmp_path / name), of, texts)

    rows = "\ufeffa,b,c\r\n1,x,\r\n\r\n2,y,\r\n2,y,\r\ncut,\r\n".encode()
    # half a pair of UTF-16, as JSON can escape it, is in no file
    texts = (kept("2", "y", None), "cut,", kept("9", "z", None), '{"a": "\\ud83d", "b": "y", "c": null}')
    expected = {kept("2", "y", None): 4, "cut,": 6}
    assert found("plain.csv", rows, source(), *texts) == expected
    assert found("zip.csv.gz", gzip.compress(rows), source(), *texts) == expected
    # a line that is the header's text is a row all the same
    assert found("twice.csv", b"a,b,c\na,b,c\n", source(), kept("a", "b", "c")) == {kept("a", "b", "c"): 2}
    quoted = b'a,b,c\n1,"x, ""y""",z\n"2",x,z\n'
    texts = (kept("1", 'x, "y"', "z"), kept("2", "x", "z"))
    assert list(found("quoted.csv", quoted, source(), *texts).values()) == [2, 3]
    escaped = source(csv={"escape": "\\", "delimiter": ";", "encoding": "GBK"})
    assert found("gbk.csv", 'a;b;c\n\n"\\"王";;明\n'.encode("gbk"), escaped, kept('"王', None, "明"))  # fmt: skip
    broken = b'a,b,c\n1,"x\ny",z\n2,"x\r\nz",z\n\n3,,z,4\n'
    several = source(csv={"multiline": True})
    texts = (kept("2", "x\nz", "z"), "3,,z,4")
    assert found("several.csv", broken, several, *texts) == {texts[0]: 4, texts[1]: 7}
    lines = ['{"a": 1}', "", '{"a": 2', "{}"]
    assert found("log.jsonl", "\n".join(lines).encode(), source("json"), lines[2]) == {lines[2]: 3}
    fixed = source("fixed", lines={"places": {"a": (1, 2), "b": (3, 4), "c": (5, 6)}, "header": True})
    assert found("fixed.txt", b"AABBCC\r\n112233\r\n11\r\n", fixed, "11") == {"11": 3}
    assert found("goods.parquet", b"PAR1", source("parquet"), kept("1", "x", None)) == {}
    assert line_numbers(str(tmp_path / "gone.csv"), source(), ["x"]) == {}
    assert line_numbers("hdfs://h/a.csv", source(), ["x"]) == {}


def test_blocks_without_any_of_the_rows_are_counted_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("profiling_spark.ingest.findings.lines._BLOCK", 64)
    lines = [f"{n},u{n % 5},{'long ' * (n % 30)}" for n in range(500)]
    (tmp_path / "a.csv").write_text("a,b,c\n" + "\n".join(lines), encoding="utf-8")
    few = {kept(*lines[n].split(",")): n + 2 for n in (17, 255, 499)}
    many = {kept(*lines[n].split(",")): n + 2 for n in range(0, 500, 7)}
    for wanted in (few, many):
        assert line_numbers(str(tmp_path / "a.csv"), source(), wanted) == wanted


texts = st.text(st.sampled_from("ab1 ,;\"'{é王"), max_size=6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(texts, texts, texts), min_size=1, max_size=25), quoting=st.sampled_from((0, 1)))
def test_any_values_are_found_where_they_stand_first(
    tmp_path: Path, rows: list[tuple[str, str, str]], quoting: int
) -> None:
    out = io.StringIO()
    csv.writer(out, quoting=quoting, lineterminator="\n").writerows([("a", "b", "c"), *rows])
    (tmp_path / "any.csv").write_text(out.getvalue(), encoding="utf-8")
    expected: dict[str, int] = {}
    for number, row in enumerate(rows, 2):
        expected.setdefault(kept(*(v or None for v in row)), number)
    assert line_numbers(str(tmp_path / "any.csv"), source(), list(expected)) == expected
