"""What customers will do next, with how sure we are and why (see job.py)."""
