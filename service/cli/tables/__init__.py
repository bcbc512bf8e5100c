"""Commands that read and write tables: evaluations, history, logs."""
