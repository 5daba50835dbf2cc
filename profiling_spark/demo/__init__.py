"""A seeded shop: raw logs in the forms shops really have, with planted structure and planted dirt, and the truth."""

from profiling_spark.demo.generate import generate
from profiling_spark.demo.truth import DemoError, DemoTruth, SourceTruth

__all__ = ["DemoError", "DemoTruth", "SourceTruth", "generate"]
