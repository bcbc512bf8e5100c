"""What a decision, a reward and a batch cost, beside something run in turn."""
