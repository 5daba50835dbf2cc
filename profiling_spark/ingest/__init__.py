"""Source files to silver tables: find, read, map, check, deduplicate, write, keep the ledger."""
