"""Bytes to and from engines: one Redis or Valkey, one behind Sentinels, or the primaries of a cluster."""
