"""The first rows of each source through the mapping and the rules of ingest; nothing is stored.

The rows are cut from the files into a folder of their own, which is read, mapped and judged by the code of `ingest`.
Duplicates are not looked for: those lie anywhere in the files.
"""

from __future__ import annotations

import re
import tempfile
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from profiling_spark.config import Settings
from profiling_spark.config.sources import Source
from profiling_spark.config.targets import TARGETS
from profiling_spark.context import Context
from profiling_spark.contracts.table import Table
from profiling_spark.errors import ConfigError, InputError
from profiling_spark.ingest.files.contents import Content, content_of
from profiling_spark.ingest.files.identity import identities
from profiling_spark.ingest.files.source_files import find_files, pattern_of
from profiling_spark.ingest.judging.rules import REJECTED
from profiling_spark.ingest.new_rows import rows_of_files
from profiling_spark.storage import Tables
from profiling_spark.storage.paths import scheme
from profiling_spark.storage.stores import input_errors, store_for

_EXAMPLES = 3
# who somebody is, or wrote: of these only the shape is shown
_SHAPE_ONLY = {"event_id", "review_id", "user_id", "session_id", "order_id", "search_text", "text", "birth_date"}
_TEXT = ("csv", "json", "fixed", "pattern")
_MOST_FILES = 50
_CHUNK = 1 << 20
_MOST_BYTES = 64 << 20  # of a file that cannot be cut: one JSON document


@dataclass(frozen=True)
class ColumnSample:
    """What a canonical column became. `examples`: frequent values; of ids and texts their shape, as in A9999 for
    U0017. `filled`: share of the rows that have a value.
    """

    name: str
    made_of: str
    filled: float
    examples: tuple[str, ...]


@dataclass(frozen=True)
class SourceSample:
    """The first rows of a source. `refused`: rows by rule, `flags`: rows that would be marked; `problem`: why nothing
    could be read.
    """

    name: str
    target: str
    path: str = ""
    rows: int = 0
    accepted: int = 0
    ignored: int = 0
    refused: dict[str, int] | None = None
    flags: dict[str, int] | None = None
    columns: tuple[ColumnSample, ...] = ()
    unmapped: tuple[str, ...] = ()
    problem: str = ""


def samples(
    spark: SparkSession, settings: Settings, *, rows: int, only: Collection[str] = ()
) -> Iterator[SourceSample]:
    """One source after another, so that the first is shown at once; only those named where some are.

    What cannot be read or mapped is the `problem` of its source, and the others follow.
    """
    with tempfile.TemporaryDirectory(prefix="profiling_spark-") as folder:
        for name, source in settings.sources.items():
            if only and name not in only:
                continue
            try:
                yield _sample(spark, settings, name, source, rows, Path(folder) / name)
            except (ConfigError, InputError) as err:
                # a piece lies under its own path inside the folder: what is left names the user's file
                before = scheme(pattern_of(source, settings.data_root))
                start = f"{before}:/" if before not in ("", "file") else ""
                problem = re.sub(rf"{re.escape(f'{folder}/{name}')}/\d+", start, str(err))
                yield SourceSample(name, source.target, problem=settings.concealed(problem))


def _sample(
    spark: SparkSession, settings: Settings, name: str, source: Source, rows: int, folder: Path
) -> SourceSample:
    folder.mkdir()
    path, form = _piece(spark, settings, source, rows, folder, name)
    cut = source.model_copy(update={"path": f"{folder}/**", "format": form})
    small = settings.model_copy(update={"sources": {**settings.sources, name: cut}})
    table = next(t for t in TARGETS.values() if t.name == source.target)
    ctx = Context(small, spark, Tables(spark, f"{folder}-lake", run_id="sample"), datetime.now(UTC))
    ctx.identities = identities(small, [], {})
    files = find_files(spark, name, cut, "")
    readable = [f for f in files if not f.problem]
    if not readable:
        return SourceSample(name, source.target, path, problem=f"{path}: {files[0].problem}")
    judged = _local(rows_of_files(ctx, table, readable).limit(rows))
    refused = judged.filter(pl.col("_status") == REJECTED)
    extra = judged["rescued"].drop_nulls().str.extract_all(r'"([^"]+)":').explode().str.strip_chars('":')
    return SourceSample(
        name,
        source.target,
        path,
        judged.height,
        judged.filter(pl.col("_status") == "ok").height,
        judged.filter(pl.col("_status") == "ignored").height,
        _names(refused["_reasons"]),
        _names(judged["flags"]) if "flags" in judged.columns else {},
        tuple(_column(judged, source, column) for column in _shown(judged, table, source)),
        tuple(sorted(set(extra.drop_nulls().to_list()))),
    )


def _piece(
    spark: SparkSession, settings: Settings, source: Source, rows: int, folder: Path, name: str
) -> tuple[str, str]:
    """The first rows into local files of the folder. Returns where they come from, and the format of the files."""
    pattern = pattern_of(source, settings.data_root)
    if source.format not in (*_TEXT, "parquet"):
        head = spark.read.format(source.format).load(pattern).limit(rows)
        pq.write_table(head.toArrow(), folder / "0.parquet")
        return pattern, "parquet"
    with input_errors():
        found = [f.path for f in store_for(pattern, spark).find(pattern)]
    if not found:
        raise InputError(f"source {name}: expected files at {pattern}, found none")
    left = rows
    for number, path in enumerate(found[:_MOST_FILES]):
        if left <= 0:
            found = found[:number]
            break
        piece = folder / f"{number}" / _below(path)
        piece.parent.mkdir(parents=True)
        content = content_of(spark, path)
        if source.format == "parquet":
            head = _parquet_head(content, left)
            pq.write_table(head, piece)
            left -= head.num_rows
        else:
            text = _text_head(content, source, left)
            piece.write_bytes(text)
            left -= max(text.count(b"\n") - 1, 1)
    read = found[:_MOST_FILES]
    return read[0] if len(read) == 1 else f"{read[0]} to {Path(read[-1]).name}", source.format


def _below(path: str) -> str:
    """The path inside another folder: where a delivery's time stands in it, it must be read there."""
    own = path.partition("://")[2] if scheme(path) else str(Path(path).absolute())
    return own.strip("/").removesuffix(".gz")


def _parquet_head(content: Content, rows: int) -> pa.Table:
    try:
        with input_errors(), content.raw() as file:
            opened = pq.ParquetFile(file)
            batches = list(islice(opened.iter_batches(batch_size=rows), 1))
            return pa.Table.from_batches(batches, opened.schema_arrow)
    except (OSError, pa.ArrowInvalid) as err:
        raise InputError(f"{content.path}: is not parquet: {str(err).splitlines()[0]}") from err


def _text_head(content: Content, source: Source, rows: int) -> bytes:
    """The first lines as bytes: how they are to be decoded is the mapping's to say."""
    encoding = source.csv.encoding if source.format == "csv" else source.lines.encoding
    wide = 2 if encoding.startswith("UTF-16") else 1
    try:
        with input_errors(), content.unpacked() as file:
            start = file.read(_CHUNK)
            is_document = source.format == "json" and start.lstrip()[:1] == b"["
            text = start
            while chunk := file.read(_CHUNK):
                if not is_document and text.count(b"\n") > rows + 1:
                    break
                text += chunk
                if len(text) > _MOST_BYTES:
                    break
    except (OSError, EOFError, zlib.error) as err:
        raise InputError(f"{content.path}: cannot be read: {err}") from err
    if is_document:
        return text
    ends = [m.end() for m in islice(re.finditer(b"\n", text), rows + 1)]
    if len(ends) <= rows:
        return text
    # a wide character's second byte may follow its line feed
    return text[: ends[-1] + (ends[-1] % wide)]


def _local(frame: DataFrame) -> pl.DataFrame:
    found = pl.from_arrow(frame.toArrow())
    assert isinstance(found, pl.DataFrame)  # for mypy
    return found


def _names(column: pl.Series) -> dict[str, int]:
    """Rows by rule, the most frequent first; a row may break several."""
    split = column.drop_nulls().str.split(",").explode().drop_nulls()
    counts = split.value_counts(sort=True).rows()
    return {str(name): int(n) for name, n in sorted(counts, key=lambda r: (-r[1], r[0]))}


def _shown(judged: pl.DataFrame, table: Table, source: Source) -> list[str]:
    """The mapped columns and those that follow from them, in the table's order."""
    made = {c for c in ("amount", "event_date") if c in judged.columns and judged[c].count()}
    return [c for c in table.names if c in source.columns or c in made]


def _column(judged: pl.DataFrame, source: Source, name: str) -> ColumnSample:
    values = judged[name]
    texts = values.drop_nulls().cast(pl.String)
    if name in _SHAPE_ONLY:
        texts = texts.str.replace_all(r"\p{Lu}", "A").str.replace_all(r"\p{Ll}", "a").str.replace_all(r"\p{N}", "9")
        texts = texts.str.replace_all(r"\p{Lo}", "文")
    common = texts.value_counts(sort=True).rows()
    ordered = sorted(common, key=lambda r: (-r[1], r[0]))[:_EXAMPLES]
    filled = 1 - values.null_count() / max(len(values), 1)
    return ColumnSample(name, source.columns.get(name, "computed"), filled, tuple(str(v) for v, _ in ordered))
