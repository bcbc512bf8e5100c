"""The process tree of `lever serve`: what starts, composes and ends everything else."""
