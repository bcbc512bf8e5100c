"""Generated code: `make proto` writes it, nobody edits it.

tests/test_generated.py keeps it true to proto/.
"""
