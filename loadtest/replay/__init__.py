"""Real logs of a shop through a live server, to say what learning is worth."""
