"""docs/features.md: `python -m profiling_spark.features.page > docs/features.md`.

With settings files behind it, the page of their windows and with their configured features.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from profiling_spark.config import load_settings
from profiling_spark.features.catalogue import render_markdown


def page(files: Sequence[str]) -> str:
    """The page for the settings in `files`; for the defaults without one."""
    settings = load_settings([Path(f) for f in files])
    return render_markdown(settings.windows_days, settings.custom_features)


if __name__ == "__main__":
    sys.stdout.write(page(sys.argv[1:]))
