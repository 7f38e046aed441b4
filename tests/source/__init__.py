"""Reads the project's source: what its names mean, and which functions can come to which."""
