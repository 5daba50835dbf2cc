"""Groups of customers who behave alike: how many, which, their names, and why each customer is in one (see job.py)."""
