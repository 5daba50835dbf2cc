"""What sources supply: event types, and the columns that come with each. Features of all else are null, not 0."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Supplier:
    """What one source gives: rows of `target` with `columns`; of events, the canonical `event_types`."""

    target: str
    columns: frozenset[str]
    event_types: frozenset[str] = frozenset()

    def with_earlier(self, earlier: Supplier | None) -> Supplier:
        """Also what the source gave under earlier settings: those rows are stored."""
        if earlier is None or earlier.target != self.target:
            return self
        return Supplier(self.target, self.columns | earlier.columns, self.event_types | earlier.event_types)


@dataclass(frozen=True)
class Supply:
    """What all sources give together."""

    suppliers: tuple[Supplier, ...]

    @classmethod
    def of(cls, suppliers: Iterable[Supplier]) -> Supply:
        """Of any number of sources."""
        return cls(tuple(suppliers))

    @cached_property
    def event_types(self) -> frozenset[str]:
        """Event types that any source can give; features of other types are null, not 0."""
        return frozenset().union(*(s.event_types for s in self.suppliers))

    @cached_property
    def targets(self) -> frozenset[str]:
        """Tables that any source feeds."""
        return frozenset(s.target for s in self.suppliers)

    @cached_property
    def event_columns(self) -> frozenset[str]:
        """Columns of events that any source maps."""
        return frozenset().union(*(s.columns for s in self.suppliers if s.target == "events"))

    @cached_property
    def columns_by_event_type(self) -> dict[str, frozenset[str]]:
        """Columns of events that the sources map, or ingest derives from what they map, with each event type."""
        catalogue = {column for s in self.suppliers if s.target == "items" for column in s.columns}
        given: dict[str, frozenset[str]] = {}
        for supplier in self.suppliers:
            columns = set(supplier.columns)
            if {"quantity", "unit_price"} <= columns:
                columns.add("amount")
            if "item_id" in columns:
                columns |= catalogue & {"category", "brand"}
            for event_type in supplier.event_types:
                given[event_type] = given.get(event_type, frozenset()) | columns
        return given
