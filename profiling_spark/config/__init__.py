"""Settings: frozen pydantic models, read from YAML and the command line before Spark starts."""

from profiling_spark.config.load import Loaded, load_settings, read_settings
from profiling_spark.config.settings import Settings

__all__ = ["Loaded", "Settings", "load_settings", "read_settings"]
