"""What the log tells people: reports, tables, and what another policy would have earned."""
