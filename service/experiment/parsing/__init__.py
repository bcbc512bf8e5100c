"""The parts of an experiment's file, read and checked."""
