"""Values that every task of a stage needs and that are too large to travel inside each of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from pyspark import Broadcast
from pyspark.sql import SparkSession

_Value = TypeVar("_Value")


class Shared(Generic[_Value]):
    """A value that tasks get by a broadcast: it reaches each machine once, and is unpacked once in each of its Python
    workers, whatever their number of tasks. In this process it is the value itself, and nothing is sent.
    """

    def __init__(self, spark: SparkSession, value: _Value) -> None:
        self._spark, self._own = spark, value
        self._sent: Broadcast[_Value] | None = None

    @property
    def value(self) -> _Value:
        """What was shared."""
        return self._own

    def __reduce__(self) -> tuple[Any, ...]:
        """What a task gets in its place: a reference."""
        if self._sent is None:
            try:
                self._sent = self._spark.sparkContext.broadcast(self._own)
            except Exception:  # Spark Connect has no broadcast, and names the error differently from release to release
                return _Copy, (self._own,)
        return _Received, (self._sent,)


class _Received(Generic[_Value]):
    def __init__(self, sent: Broadcast[_Value]) -> None:
        self._sent = sent

    @property
    def value(self) -> _Value:
        return self._sent.value


class _Copy(Generic[_Value]):
    def __init__(self, value: _Value) -> None:
        self.value = value


class SharedCall:
    """A function for tasks that is too large to travel inside each of them: to call it is to call what was shared."""

    def __init__(self, spark: SparkSession, function: Callable[..., Any]) -> None:
        self._function = Shared(spark, function)

    def __call__(self, *arguments: Any) -> Any:
        return self._function.value(*arguments)
