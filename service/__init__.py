"""Lever: a real-time contextual bandit personalization service."""

__version__ = "0.1.0"
