"""The HTTP door: OFREP, choices and events for websites, in a process of its own over the same personalizer."""
