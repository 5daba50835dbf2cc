"""Every table the system writes, in the order in which a newcomer meets them."""
