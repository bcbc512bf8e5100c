"""The page for people on the operators' port, and the small JSON that it stands on."""
