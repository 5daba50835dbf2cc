"""Runs that take rows a second time: replay, reload, and the undoing of a run that died."""
