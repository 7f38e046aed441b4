"""Cleaning: a dataset's DataBrew recipe, checked against its contract and compiled to one SELECT."""
