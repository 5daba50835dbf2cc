"""Settings: frozen pydantic models, read from YAML and the command line before Spark starts."""

from profiling_spark.config.load import load_settings
from profiling_spark.config.settings import Settings

__all__ = ["Settings", "load_settings"]
