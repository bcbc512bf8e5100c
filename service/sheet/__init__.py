"""A report as something to hand around: one self-contained HTML file, or a picture for a slide."""
