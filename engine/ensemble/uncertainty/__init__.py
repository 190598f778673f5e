"""Uncertainty of a price: the model of its error, the interval, the confidence, and the expected price."""
