"""What a storage has, what was done with it and what a run would do: read only, on a local disk without Spark."""
