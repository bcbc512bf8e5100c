"""Reading what people write: YAML, typed fields, CSV; every problem with its place, all in one pass."""
