"""What every process of Lever does at its start: settings, orders, precedence, compiled kernels."""
