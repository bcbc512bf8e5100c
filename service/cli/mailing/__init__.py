"""Commands for mailings: a choice for everyone on a list, and what came back of it."""
