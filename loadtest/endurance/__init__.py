"""What breaks Lever, and what is lost when it does: faults, overload, malformed input, hours of traffic."""
