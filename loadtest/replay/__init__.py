"""Real logs of a shop through a live server: what is learning worth?"""
