"""An item side as files that tasks map into memory, or as a copy that travels with the task."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from profiling_spark.errors import ModelError
from profiling_spark.recommend.als import FactorSide
from profiling_spark.recommend.graph_filter import GraphFilterSide
from profiling_spark.recommend.item_cf import NeighbourSide
from profiling_spark.recommend.item_side import ItemSide

META, FACTORS, NEIGHBOURS = "meta.json", "item_factors", "is_neighbours"
_SPARSE = ("data", "indices", "indptr")
_DENSE = ("vectors", "degree", "ends", "exponents", "weights")


@dataclass(frozen=True)
class StoredSide:
    """How a task gets an item side: from a folder that every machine sees, else from a copy.

    The same rule as for the events: on a disk (one machine, or a mount shared by all) tasks open the files.
    """

    folder: str | None = None
    copy: ItemSide | None = None

    def load(self) -> ItemSide:
        """The side; tasks of a machine share the memory-mapped files."""
        if self.folder is not None:
            return load_side(Path(self.folder))
        if self.copy is None:
            raise ModelError("recommendations: expected a folder or a copy of the model, found neither")
        return self.copy


def sent_side(side: ItemSide, folder: Path | None) -> StoredSide:
    """A side for tasks: as files in `folder`, which is made, where there is one and the engine can be stored."""
    if folder is None or not isinstance(side, (FactorSide, NeighbourSide, GraphFilterSide)):
        return StoredSide(copy=side)
    save_side(folder, side)
    return StoredSide(folder=str(folder))


def save_side(folder: Path, side: ItemSide) -> None:
    """Write the files of a side; those of an earlier one are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    meta: dict[str, str | float] = {"engine": side.engine}
    arrays: dict[str, NDArray[Any]] = {}
    if isinstance(side, FactorSide):
        arrays = {FACTORS: side.factors}
        meta |= {"alpha": side.alpha, "regularisation": side.regularisation}
    elif isinstance(side, NeighbourSide):
        arrays = {name: getattr(side.similar, name) for name in _SPARSE}
        meta[NEIGHBOURS] = True
    elif isinstance(side, GraphFilterSide):
        arrays = {name: getattr(side.neighbours, name) for name in _SPARSE}
        arrays |= {name: getattr(side, name) for name in _DENSE}
        meta["candidates"] = side.candidates
    else:
        raise ModelError(f"{folder}: expected an engine that can be stored, found {side.engine}")
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
    (folder / META).write_text(json.dumps(meta, sort_keys=True), encoding="utf-8")


def load_side(folder: Path) -> ItemSide:
    """The side in a folder, its arrays memory-mapped. Raises ModelError where it cannot be read."""
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
        if meta["engine"] == FactorSide.engine:
            (factors,) = _mapped(folder, (FACTORS,))
            return FactorSide(factors, alpha=meta["alpha"], regularisation=meta["regularisation"])
        if meta.get(NEIGHBOURS):
            return NeighbourSide(_square(folder), meta["engine"])
        if meta["engine"] == GraphFilterSide.engine:
            vectors, degree, ends, exponents, weights = _mapped(folder, _DENSE)
            return GraphFilterSide(_square(folder), vectors, degree, ends, exponents, weights, int(meta["candidates"]))
    except (OSError, ValueError, KeyError) as err:
        raise ModelError(f"{folder}: expected a readable item side; {err}") from err
    raise ModelError(f"{folder}: expected an engine of this package, found {meta['engine']!r}")


def _mapped(folder: Path, names: tuple[str, ...]) -> list[NDArray[Any]]:
    return [np.load(folder / f"{name}.npy", mmap_mode="r") for name in names]


def _square(folder: Path) -> sparse.csr_array:
    """The stored (items, items) matrix."""
    data, indices, indptr = _mapped(folder, _SPARSE)
    return sparse.csr_array((data, indices, indptr), shape=(len(indptr) - 1,) * 2)
