"""One server adds up a busy experiment, the others load what it came to."""
