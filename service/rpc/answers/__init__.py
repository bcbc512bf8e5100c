"""Messages made of what was found."""
