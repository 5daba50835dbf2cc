"""What evaluate_recommender is asked for, and how long its steps take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from profiling_spark.config import Settings, load_settings
from profiling_spark.recommend.engines import ALS, GRAPH_FILTER, ITEM_CF
from profiling_spark.recommend.files.engines import AMONG_GIVEN, BOUGHT_MASKED
from profiling_spark.recommend.judge.protocols import ALL_ITEMS, NEW_ITEMS, Protocol

BLENDED = (GRAPH_FILTER, ITEM_CF)
MASKS = {"seen": NEW_ITEMS, "bought": BOUGHT_MASKED, "nothing": ALL_ITEMS}


@dataclass
class Clock:
    """Wall seconds by step."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add what the body takes."""
        begin = time.monotonic()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - begin, 1)


@dataclass(frozen=True)
class Asked:
    """What is evaluated on which files. `tune`: KEY=V1,V2,... to choose on held-out training pairs, '' for the usual
    ones; `validation`: the share of each customer's pairs that is held out for it; `blended`: engines of a blend;
    `alone`: without the simple engines beside it; `mask`: what lists leave out, of MASKS; `bootstrap`: replicates of
    the customers for intervals; `negatives`: a file of the items among which alone each customer's test items are
    ranked; `save`: where the chosen settings go.
    """

    engine: str
    train: str
    test: str
    tune: tuple[str, ...] = ()
    validation: float = 0.2
    blended: tuple[str, ...] = BLENDED
    alone: bool = False
    mask: str = "seen"
    bootstrap: int = 0
    negatives: str | None = None
    save: Path | None = None
    config: tuple[Path, ...] = ()
    overrides: tuple[str, ...] = ()
    note: Callable[[str], object] = lambda text: None

    def settings(self, *chosen: str) -> Settings:
        """Those of the files, with what was chosen since."""
        return load_settings(self.config, (*self.overrides, *chosen))

    @property
    def protocol(self) -> Protocol:
        """By which the figures at the top level are measured."""
        return MASKS[self.mask] if self.negatives is None else AMONG_GIVEN

    @property
    def searches(self) -> bool:
        """Whether als or graph_filter is to find its settings itself."""
        return self.engine in (ALS, GRAPH_FILTER) and "" in self.tune
