"""Intelligent customer profiling as Spark jobs."""

__version__ = "0.1.0"
