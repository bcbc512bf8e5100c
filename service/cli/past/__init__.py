"""What happened to an experiment, and leaving some of it out, from a terminal."""
