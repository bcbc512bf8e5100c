"""Stores of several engines, started on loopback: clusters, and primaries that Sentinels watch."""
