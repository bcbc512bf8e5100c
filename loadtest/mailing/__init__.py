"""Mailings through a live server: how fast, in how much memory, and is everybody on the list chosen for once."""
