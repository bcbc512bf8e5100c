"""Where the log, the claims, the configurations and the checkpoints live: one contract, two stores."""
