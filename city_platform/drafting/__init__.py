"""A dataset's folder drafted from one of its files: guesses, each marked for a person's review."""
