"""Recommendations: what to offer each customer, with reasons, and what is often taken together.

history/   what customers did with items: pairs, visits, refunds, what was seen, bots, the split by time
engines/   one module an engine (its fit and its item side), how settings and blends are found, how a side is stored
matrix/    arrays: item sides and blocks of customers, item-item products, scores and their best
lists/     from scores to lists: the ladder of steps, what may be offered, policy, price steering, reasons
judge/     protocols, figures and their intervals, and the choice of the engine that serves
files/     any engine on any interaction files: what evaluate_recommender runs
extras/    the best customers for an item, and bundles
store.py   the stored model; job.py  the job; outcome.py  what it says
"""
