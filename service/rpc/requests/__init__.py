"""What callers ask, made of its bytes."""
