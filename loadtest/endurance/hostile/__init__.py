"""Attacks that need no key, and what good callers notice of them."""
