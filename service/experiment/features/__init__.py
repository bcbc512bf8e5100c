"""What a feature can be: one class for each type, which alone knows its YAML, columns, encoding, conditions and CSV."""
