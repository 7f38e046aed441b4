"""The data lake: where objects lie, how a partition is published whole, how it is read."""
