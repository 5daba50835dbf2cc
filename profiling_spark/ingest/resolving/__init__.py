"""Rows compared with each other: repeats and versions, within a delivery and against what is stored."""
