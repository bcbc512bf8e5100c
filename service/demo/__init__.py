"""A simulated shop: three experiments with a past of some weeks, and visitors who go on coming."""
