"""What was judged and decided: the history of evaluations, stewards' decisions, audit log and scorecard."""
