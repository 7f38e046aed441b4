"""Incidents: what citizens and officers report, how it is routed and resolved, and what is told of it."""
