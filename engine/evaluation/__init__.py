"""Scores of an index, and of what is left when a part is taken away."""
