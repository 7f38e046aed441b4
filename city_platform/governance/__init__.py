"""What was judged and what was decided: the history of evaluations, stewards' decisions, the audit log, the scorecard."""
