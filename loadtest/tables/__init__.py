"""Figures in documents, made from docs/numbers."""
