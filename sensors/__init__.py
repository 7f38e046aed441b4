"""Reactions: a file was dropped, a partition fell behind."""
