"""Traces of some calls, for OpenTelemetry: an extra, and nobody's cost while it is off."""
