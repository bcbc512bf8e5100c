"""The problems: what visitors bring, what every arm would pay, and which of them constants may be chosen on."""
