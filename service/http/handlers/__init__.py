"""What the paths of the web port do, each from a request that was read to its reply."""
