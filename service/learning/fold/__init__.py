"""What a fold takes from configurations and rows, and how its results are told apart."""
