"""A server as its clients see it: messages as JSON, failed calls as faults with fields and lines."""
