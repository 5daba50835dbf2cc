"""Which files there are, which of them are new, and what the ledger knows of those that were taken."""
