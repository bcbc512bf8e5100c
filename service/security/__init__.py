"""Who may do what, and with which secrets: API keys, token keys, certificates."""
