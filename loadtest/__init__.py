"""Programs that put load on a live Lever server and say what came of it: `python -m loadtest`."""
