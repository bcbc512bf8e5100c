"""An experiment from its file to its compiled form: parsed, numbered, bounded, encoded."""
