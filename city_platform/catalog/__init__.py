"""What the city has, and how to find it: tables, columns, search, dictionary and lineage."""
