"""An item side as files that tasks map into memory, or as a copy that travels with the task."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

from profiling_spark.errors import ModelError
from profiling_spark.recommend.als import FactorSide
from profiling_spark.recommend.item_cf import NeighbourSide
from profiling_spark.recommend.item_side import ItemSide

META, FACTORS = "meta.json", "item_factors.npy"
_SPARSE = ("data", "indices", "indptr")


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


def save_side(folder: Path, side: ItemSide) -> None:
    """Write the files of a side; those of an earlier one are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    meta: dict[str, str | float] = {"engine": side.engine}
    if isinstance(side, FactorSide):
        np.save(folder / FACTORS, side.factors)
        meta |= {"alpha": side.alpha, "regularisation": side.regularisation}
    elif isinstance(side, NeighbourSide):
        for name in _SPARSE:
            np.save(folder / f"{name}.npy", getattr(side.similar, name))
    else:
        raise ModelError(f"{folder}: expected engine als or item_cf, found {side.engine}")
    (folder / META).write_text(json.dumps(meta, sort_keys=True), encoding="utf-8")


def load_side(folder: Path) -> ItemSide:
    """The side in a folder, its arrays memory-mapped. Raises ModelError where it cannot be read."""
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
        if meta["engine"] == FactorSide.engine:
            factors = np.load(folder / FACTORS, mmap_mode="r")
            return FactorSide(factors, alpha=meta["alpha"], regularisation=meta["regularisation"])
        if meta["engine"] == NeighbourSide.engine:
            entries = tuple(np.load(folder / f"{name}.npy", mmap_mode="r") for name in _SPARSE)
            count = len(entries[2]) - 1
            return NeighbourSide(sparse.csr_array(entries, shape=(count, count)))
    except (OSError, ValueError, KeyError) as err:
        raise ModelError(f"{folder}: expected a readable item side; {err}") from err
    raise ModelError(f"{folder}: expected engine als or item_cf, found {meta['engine']!r}")
