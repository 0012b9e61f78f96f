"""From a command to a table: what a run is, its result, comparisons, experiments, collaborative vectors."""
