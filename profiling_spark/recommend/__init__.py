"""What to offer each customer, and why. Start reading in job.py."""
