"""What is done to whole experiments: put, delete, warm-start, transfer, verify."""
