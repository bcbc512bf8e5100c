"""Whether what is said of arms is true as often as it says: simulated experiments, intervals, probabilities."""
