"""A decision and a reward from question to answer, without I/O for a choice, after the store for a reward."""
