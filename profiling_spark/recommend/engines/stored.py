"""An item side as named arrays and a few numbers: in files that tasks map into memory; and as rows of a Parquet file,
which Spark writes and reads on any storage.
"""

from __future__ import annotations

import json
import uuid
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark import SparkFiles
from pyspark.sql import SparkSession

from profiling_spark.errors import ModelError
from profiling_spark.recommend.engines.als import FactorSide
from profiling_spark.recommend.engines.blend import BLEND, BlendSide
from profiling_spark.recommend.engines.graph_filter import GraphFilterSide
from profiling_spark.recommend.engines.item_cf import NeighbourSide
from profiling_spark.recommend.engines.own_history import OwnHistorySide
from profiling_spark.recommend.matrix.item_side import ItemSide

Arrays = Mapping[str, NDArray[Any]]
META = "meta.json"
_PIECE = 2**20  # bytes of an array in a row: Parquet's writer looks at its memory every hundred rows
_CHUNK = 2**30  # bytes of an Arrow array, whose ends are 32 bits wide; whole pieces


class Storable(ItemSide, Protocol):
    """An item side that can be stored: what `from_arrays` makes of its arrays and numbers (JSON) scores the same."""

    @property
    def kind(self) -> str:
        """Its place in KINDS."""

    def arrays(self) -> Arrays: ...

    def numbers(self) -> Mapping[str, Any]: ...

    @classmethod
    def from_arrays(cls, arrays: Arrays, numbers: Mapping[str, Any]) -> ItemSide: ...


KINDS: Mapping[str, type[Storable]] = {
    kind.kind: cast("type[Storable]", kind) for kind in (FactorSide, NeighbourSide, GraphFilterSide, OwnHistorySide)
}
"""Every class of item sides that can be stored; a blend is made of those."""


@dataclass(frozen=True)
class StoredSide:
    """How a task gets an item side: from a folder that every machine sees, or from the session's files (`added`, which
    begins their names), which Spark brings to each executor once. Its tasks share the mapped files. Only a side that
    cannot be stored travels itself.
    """

    folder: str | None = None
    added: str | None = None
    own: ItemSide | None = field(default=None, compare=False)

    def load(self) -> ItemSide:
        """The side."""
        if self.own is not None:
            return self.own
        if self.folder is not None:
            return load_side(Path(self.folder))
        if self.added is not None:
            return load_side(Path(SparkFiles.getRootDirectory()), f"{self.added}.")
        raise ModelError("recommendations: expected the files of the model, found none")

    def __getstate__(self) -> dict[str, Any]:
        has_files = self.folder is not None or self.added is not None
        return {"folder": self.folder, "added": self.added, "own": None if has_files else self.own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


@dataclass(frozen=True)
class _Added:
    """A side whose files a session has: Spark removes none of them before its end, so no side is added twice."""

    name: str
    application: str
    side: weakref.ref[ItemSide]


_ADDED: dict[int, _Added] = {}


def is_storable(side: ItemSide) -> bool:
    """Whether `taken_apart` knows it."""
    if isinstance(side, BlendSide):
        return all(is_storable(part) for part in side.sides)
    return isinstance(side, tuple(KINDS.values()))


def taken_apart(side: ItemSide) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """(its kind and numbers, its arrays); a blend's are those of its parts. Raises ModelError where it is of no kind
    that can be stored.
    """
    if isinstance(side, BlendSide):
        parts = [taken_apart(part) for part in side.sides]
        arrays = {f"{n}.{name}": values for n, (_, found) in enumerate(parts) for name, values in found.items()}
        return {"kind": BLEND, "weights": list(side.weights), "parts": [meta for meta, _ in parts]}, arrays
    if not is_storable(side):
        raise ModelError(f"engine {side.engine}: expected one that can be stored")
    storable = cast("Storable", side)
    return {"kind": storable.kind, **storable.numbers()}, dict(storable.arrays())


def put_together(meta: Mapping[str, Any], arrays: Arrays) -> ItemSide:
    """The side of what `taken_apart` gave. Raises ModelError, KeyError and ValueError where it cannot be."""
    if meta["kind"] == BLEND:
        own = [
            {name.removeprefix(f"{n}."): values for name, values in arrays.items() if name.startswith(f"{n}.")}
            for n in range(len(meta["parts"]))
        ]
        sides = tuple(put_together(part, found) for part, found in zip(meta["parts"], own, strict=True))
        return BlendSide(sides, tuple(meta["weights"]))
    if meta["kind"] not in KINDS:
        raise ModelError(f"expected an item side of {', '.join((*KINDS, BLEND))}, found {meta['kind']!r}")
    return KINDS[meta["kind"]].from_arrays(arrays, meta)


def side_for_tasks(spark: SparkSession, side: ItemSide, folder: Path | None) -> StoredSide:
    """A side for tasks: its files in `folder`, which every machine sees and which is made, else among the session's."""
    if not is_storable(side):
        return StoredSide(own=side)
    if folder is not None:
        save_side(folder, side)
        return StoredSide(folder=str(folder), own=side)
    try:
        context = spark.sparkContext
    except Exception:  # Spark Connect brings no files, and names the error differently from release to release
        return StoredSide(own=side)
    key = id(side)
    known = _ADDED.get(key)
    if known is not None and known.side() is side and known.application == context.applicationId:
        return StoredSide(added=known.name, own=side)
    name = f"side-{uuid.uuid4().hex}"
    # Spark reads them when an executor asks for the first time: they are to last as long as its own files do
    made = Path(SparkFiles.getRootDirectory(), f"{name}-files")
    save_side(made, side, f"{name}.")
    for file in sorted(made.iterdir()):
        context.addFile(str(file))
    # not `side` in the callback: that would keep it for ever
    _ADDED[key] = _Added(name, context.applicationId, weakref.ref(side, lambda _: _ADDED.pop(key, None)))
    return StoredSide(added=name, own=side)


def save_side(folder: Path, side: ItemSide, begin: str = "") -> None:
    """Write the files of a side, whose names begin like this; those of an earlier one are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    meta, arrays = taken_apart(side)
    for name, values in arrays.items():
        np.save(folder / f"{begin}{name}.npy", values)
    text = json.dumps({"side": meta, "arrays": sorted(arrays)}, sort_keys=True)
    (folder / f"{begin}{META}").write_text(text, encoding="utf-8")


def load_side(folder: Path, begin: str = "") -> ItemSide:
    """The side in a folder, its arrays memory-mapped. Raises ModelError where it cannot be read."""
    try:
        meta = json.loads((folder / f"{begin}{META}").read_text(encoding="utf-8"))
        arrays = {name: np.load(folder / f"{begin}{name}.npy", mmap_mode="r") for name in meta["arrays"]}
        return put_together(meta["side"], arrays)
    except (OSError, ValueError, KeyError, ModelError) as err:
        raise ModelError(f"{folder}: expected a readable item side; {err}") from err


def packed(arrays: Arrays) -> pa.Table:
    """(name, piece, type, shape, data) of every array: its bytes in pieces, numbered from 0. None are copied."""
    tables = [_pieces(name, values) for name, values in arrays.items()]
    return pa.concat_tables(tables)


def unpacked(rows: pa.Table) -> dict[str, NDArray[Any]]:
    """The arrays of such rows, in any order. Raises KeyError or ValueError where some are missing."""
    found = {}
    for name in sorted(set(rows.column("name").to_pylist())):
        own = rows.filter(pc.equal(rows.column("name"), name)).sort_by("piece")
        if own.column("piece").to_pylist() != list(range(own.num_rows)):
            raise ValueError(f"{name}: expected pieces 0 to {own.num_rows - 1}")
        data = b"".join(value.as_buffer() for value in own.column("data"))
        shape = own.column("shape")[0].as_py()
        found[name] = np.frombuffer(data, dtype=np.dtype(own.column("type")[0].as_py())).reshape(shape)
    return found


def _pieces(name: str, values: NDArray[Any]) -> pa.Table:
    data = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    chunks = []
    for at in range(0, max(len(data), 1), _CHUNK):
        part = data[at : at + _CHUNK]
        ends = np.r_[np.arange(0, len(part), _PIECE), len(part)].astype(np.int32)
        ends = ends if len(part) else np.zeros(2, dtype=np.int32)  # an empty array has one piece, too
        buffers = [None, pa.py_buffer(ends), pa.py_buffer(part)]
        chunks.append(pa.Array.from_buffers(pa.binary(), len(ends) - 1, buffers))
    count = sum(map(len, chunks))
    return pa.table(
        {
            "name": pa.array([name] * count, pa.string()),
            "piece": pa.array(range(count), pa.int32()),
            "type": pa.array([values.dtype.str] * count, pa.string()),
            "shape": pa.array([list(values.shape)] * count, pa.list_(pa.int64())),
            "data": pa.chunked_array(chunks, pa.binary()),
        }
    )
