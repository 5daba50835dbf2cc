"""Source files to frames of rows, in whatever format and encoding they come."""
