"""Which learner collects more? Lever and other libraries on the same problems with the same luck (docs/learning.md)."""
