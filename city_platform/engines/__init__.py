"""Where batch work runs: DuckDB on one machine, Spark beyond it, told apart by a dialect each."""
