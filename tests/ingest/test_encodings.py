"""Bytes that do not fit are refused, a row or a file at a time, with the encoding that fits; letters are never lost."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from ingest_shop import rows

from profiling_spark.config import Settings
from profiling_spark.config.sources import Source
from profiling_spark.contracts.silver import EVENTS, INGESTED_FILES, REJECTED_ROWS
from profiling_spark.ingest.files.encodings import REPLACED, TextCheck, python_name
from profiling_spark.ingest.files.source_files import SourceFile, find_files
from profiling_spark.ingest.job import ingest

HEADER = "Kunde;Zeit;Warengruppe;Stadt"
WESTERN = [
    "K1;2025-02-01 10:00;Küche;Köln",
    "K2;2025-02-01 11:00;Café „Größe“;Nürnberg",
    "K3;2025-02-02 11:00;Preis €;Bonn",
]
POLISH = [*WESTERN[:2], "K3;2025-02-02 11:00;Preis €;Łódź"]
CHINESE = ["甲;2025-02-01 10:00;厨具;北京", "乙;2025-02-01 10:00;厨具;上海", "丙;2025-02-01 10:00;厨具;广州"]
TAIWAN = ["許功蓋;2025-02-01 10:00;餐具;臺北", "碁;2025-02-01 10:00;餐具;高雄"]
JAPAN = ["髙橋;2025-02-01 10:00;表示ソ;東京", "①;2025-02-01 10:00;カフェ;大阪"]
COLUMNS = {"user_id": "Kunde", "event_time": "Zeit", "category": "Warengruppe", "city": "Stadt", "event_type": "'x'"}


def content(lines: list[str], encoding: str, *, end: str = "\r\n") -> bytes:
    return (end.join([HEADER, *lines]) + end).encode(encoding)


def source(path: str, encoding: str = "UTF-8", kind: str = "view", **more: Any) -> dict[str, Any]:
    base = {"format": "csv", "path": path, "target": "events", "columns": COLUMNS, "event_types": {"x": kind}}
    return {**base, "csv": {"delimiter": ";", "encoding": encoding}, **more}


def looked_at(folder: Path, data: bytes, encoding: str, **more: Any) -> SourceFile:
    (folder / "a.csv").write_bytes(data)
    made = Source.model_validate(source("a.csv", encoding, **more))
    (file,) = find_files(None, "s", made, str(folder))  # type: ignore[arg-type]
    return file


def test_a_file_of_which_most_lines_do_not_fit_is_refused_with_what_fits(tmp_path: Path) -> None:
    german = ["müller;2025-02-01 10:00;A;B", "möller;2025-02-01 10:00;A;B", "maier;2025-02-01 10:00;A;B"]
    four_bytes = ["甲;2025-02-01 10:00;厨具;北京", "𠮷;2025-02-01 10:00;厨具;北京"]
    for data, encoding, problem in (
        (content(WESTERN, "cp1252"), "UTF-8", r"3 of 3 lines do not fit UTF-8; windows-1252"),
        (content(WESTERN, "cp1252"), "ISO-8859-1", "2 of 3 lines do not fit ISO-8859-1; windows-1252"),
        (content(german, "cp1252"), "UTF-8", "2 of 3 lines do not fit UTF-8; windows-1252"),
        (content(CHINESE, "gbk"), "UTF-8", "3 of 3 lines do not fit UTF-8; GB18030"),
        (content(TAIWAN, "cp950"), "UTF-8", "2 of 2 lines do not fit UTF-8; Big5"),
        (content(JAPAN, "cp932"), "UTF-8", "2 of 2 lines do not fit UTF-8; Shift-JIS"),
        (content(four_bytes, "gb18030"), "Big5", "1 of 2 lines do not fit Big5; GB18030"),
        (content(POLISH, "utf-16"), "UTF-8", "does not look like UTF-8; UTF-16 would fit"),
        (content(POLISH, "utf-16-be"), "UTF-8", "does not look like UTF-8; UTF-16 would fit"),
        (content(POLISH, "utf-8"), "UTF-16", "does not look like UTF-16; UTF-8"),
        (content(["a;b;c;d"], "utf-8").replace(b"Stadt", b"St\xe4dte"), "UTF-8", "its first line.*UTF-8; windows-1252"),
    ):
        file = looked_at(tmp_path, data, encoding)
        found = file.problem or file.hint
        assert found.find(problem.split(".*")[0]) >= 0, (encoding, found)
        assert problem.split(".*")[-1] in found
        # of two lines one is not most of them: the other is read
        assert bool(file.hint) == problem.startswith("1 of 2"), found
    (tmp_path / "a.jsonl").write_bytes(b'{"Kunde": "M\xfcller"}\n')
    text = {name: value for name, value in source("a.jsonl").items() if name != "csv"}
    made = Source.model_validate(text | {"format": "json"})
    (file,) = find_files(None, "s", made, str(tmp_path))  # type: ignore[arg-type]
    assert "JSON is always UTF-8" in file.problem


def test_names_of_encodings_may_be_spelled_in_any_way() -> None:
    for name, expected in (("utf8", "UTF-8"), ("Windows-1252", "windows-1252"), ("shift_jis", "Shift-JIS")):
        assert Source.model_validate(source("a.csv", name)).encoding == expected


ENCODINGS = ("UTF-8", "UTF-16", "UTF-16BE", "ISO-8859-1", "windows-1252", "GBK", "GB18030", "Big5", "Shift-JIS")


@examples(max_examples=150, deadline=None)
@given(data=st.binary(max_size=60), encoding=st.sampled_from(ENCODINGS), cuts=st.lists(st.integers(0, 90), max_size=4))
def test_text_fits_however_it_is_cut_and_other_bytes_do_not(data: bytes, encoding: str, cuts: list[int]) -> None:
    """What fits is what Python decodes; wide text is told by its zeros."""
    made = Source.model_validate(source("a.csv", encoding))
    # ASCII around it, so that the first bytes say whether the text is wide
    start = "id;name\n".encode(python_name(made.encoding))
    whole = start + data
    check = TextCheck(made)
    places = sorted({len(start), len(whole), *(c + len(start) for c in cuts if c < len(data))})
    for begin, end in zip([0, *places], places, strict=False):
        check.feed(whole[begin:end])
    try:
        text = whole.decode(python_name(made.encoding))
    except UnicodeDecodeError:
        fits = False
    else:
        fits = encoding != "ISO-8859-1" or not any("\x80" <= c <= "\x9f" for c in text)
    if fits or not check.fits:
        assert check.fits == fits
    else:
        # only the end of the last character is missing
        assert check._decoder is not None
        with pytest.raises(UnicodeDecodeError):
            check._decoder.decode(b"", final=True)


def test_files_of_every_encoding_in_one_run(tables, make_context, tmp_path):
    files = {
        "ansi": (content(WESTERN, "cp1252"), "windows-1252", WESTERN),
        "excel": (content(POLISH, "utf-16"), "UTF-16", POLISH),
        "big_endian": (content([*POLISH[:2], POLISH[2].replace("Łódź", '"Łódź"')], "utf-16-be"), "UTF-16", POLISH),
        "marked": (content(POLISH, "utf-8-sig"), "UTF-8", POLISH),
        "gbk": (content(CHINESE, "gbk"), "GBK", CHINESE),
        # a letter of four bytes, which only GB18030 has
        "gb18030": (content([*CHINESE, "𠮷;2025-02-01 10:00;厨具;x"], "gb18030"), "GBK", [*CHINESE, "𠮷;;厨具;x"]),
        "taiwan": (content(TAIWAN, "cp950"), "Big5", TAIWAN),
        "japan": (gzip.compress(content(JAPAN, "cp932")), "Shift-JIS", JAPAN),
    }
    kinds = iter(("login", "search", "view", "favorite", "cart", "purchase", "refund", "ad_view"))
    sources: dict[str, Any] = {}
    for name, (data, encoding, _) in files.items():
        path = f"{name}.csv" + (".gz" if name == "japan" else "")
        (tmp_path / path).write_bytes(data)
        sources[name] = source(path, encoding, next(kinds))
    quoted = ["a;2025-02-01 10:00;two\r\nlines;x", "b;2025-02-01 10:00;Łódź;y"]
    wide = content([quoted[0].replace("two\r\nlines", '"two\r\nlines"'), quoted[1]], "utf-16-le")
    (tmp_path / "quoted.csv").write_bytes(wide)
    sources["quoted"] = source("quoted.csv", "UTF-16LE", "ad_click")
    sources["quoted"]["csv"]["multiline"] = True

    lines = [f"K{n};2025-02-01 10:00;é;x" for n in range(5)]
    broken = content(lines, "utf-8").replace(b"K2", b"K\xfc").replace(b"K3", "K\ufffd".encode())
    (tmp_path / "broken.csv").write_bytes(broken)
    sources["broken"] = source("broken.csv", kind="review")
    objects = [json.dumps({"Kunde": f"j{n}", "Zeit": "2025-02-01", "Warengruppe": "ü"}).encode() for n in range(3)]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([*objects[:2], objects[2].replace(b"j2", b"j\xfc")]))
    sources["objects"] = {**source("a.jsonl", kind="service"), "format": "json", "csv": {}}
    (tmp_path / "plain.txt").write_bytes("\ufeffwho  name \r\nu1   Łódź \r\nu2   Küche\r\n".encode("utf-16-le"))
    fixed = {"header": True, "places": {"who": [1, 4], "name": [6, 10]}, "encoding": "UTF-16"}
    columns = {"item_id": "who", "title": "name"}
    sources["fixed"] = {"format": "fixed", "path": "plain.txt", "target": "items", "columns": columns, "lines": fixed}
    (tmp_path / "wrong.csv").write_bytes(content(WESTERN, "cp1252", end="\n"))
    sources["wrong"] = source("*wrong.csv", kind="view")
    sources["wrong"]["event_types"] = {"x": "view"}
    sources["marked"]["event_types"] = {"x": "ignored", "y": "favorite"}
    sources["marked"]["columns"] = {**COLUMNS, "event_type": "'y'"}
    sources["big_endian"]["event_types"], sources["wrong"]["event_types"] = {"x": "view"}, {"x": "ignored"}
    base = {"storage": {"root": tables.root}, "data_root": str(tmp_path), "sources": sources}
    base["ingest"] = {"max_rejected_share": 1.0, "latest_event_date": "2025-12-31"}
    outcome = ingest(make_context(Settings.model_validate(base)))

    events = rows(tables, EVENTS)
    found: dict[str, set[tuple[str, str, str]]] = {}
    for r in events:
        found.setdefault(r["source"], set()).add((r["user_id"], r["category"], r["city"]))
    for name, (_, _, expected) in files.items():
        assert found[name] == {(x.split(";")[0], *x.split(";")[2:]) for x in expected}, name
    assert {(who, what) for who, what, _ in found["quoted"]} == {("a", "two\nlines"), ("b", "Łódź")} or {
        (who, what) for who, what, _ in found["quoted"]
    } == {("a", "two\r\nlines"), ("b", "Łódź")}
    assert {who for who, *_ in found["broken"]} == {"K0", "K1", "K4"}
    assert {who for who, *_ in found["objects"]} == {"j0", "j1"}
    assert "wrong" not in found
    assert not any(REPLACED in str(value) for r in events for value in r.values())
    refused = [(r["source"], r["reasons"], r["occurrences"]) for r in rows(tables, REJECTED_ROWS)]
    # what is put for the bytes makes the two lines equal
    assert sorted(refused) == [("broken", "wrong_encoding", 2), ("objects", "wrong_encoding", 1)]
    status = {Path(r["path"]).name: r for r in rows(tables, INGESTED_FILES)}
    assert (status["wrong.csv"]["status"], status["broken.csv"]["rows_rejected"]) == ("refused", 2)
    assert "3 of 3 lines do not fit UTF-8; windows-1252" in status["wrong.csv"]["reason"]
    assert any("broken.csv: 2 of 5 lines do not fit UTF-8" in line for line in outcome.lines)
    assert "windows-1252 would fit" in outcome.problem or "windows-1252 or" in outcome.problem
