"""The engines: how each is fitted and scores customers, how its settings are found, how it is stored.

Nothing is imported here: the help of commands asks for the names.
"""

FITS = {"als": "als_fit", "graph_filter": "graph_fit", "item_cf": "item_cf"}
"""Engines that are fitted, compared and may serve, and the module here with the `fit_engine` of each; of two that are
equal the first serves.
"""
ENGINES = tuple(FITS)
ALS, GRAPH_FILTER, ITEM_CF = "als", "graph_filter", "item_cf"
