"""Keeps a server in step with the log: reads it, sums it, derives snapshots, writes trials and checkpoints."""
