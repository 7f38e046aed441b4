"""A dataset's folder: what it must hold, loading it, and every mistake in it at once."""
