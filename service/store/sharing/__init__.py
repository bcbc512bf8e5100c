"""States that one server adds up and the others load."""
