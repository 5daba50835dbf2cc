"""Upkeep of the tables: fewer and larger files, old versions removed, promises checked."""
