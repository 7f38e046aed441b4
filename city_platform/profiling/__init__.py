"""What a dataset looks like inside: one pass over its rows, and the report of it."""
