"""What customers did with items: histories, visits, refunds, and the split by time."""
