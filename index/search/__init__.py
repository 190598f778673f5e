"""Nearest neighbours among unit vectors within a band of log price."""

AUTO, SLICE, FAISS, LANCE = "auto", "slice", "faiss", "lance"
BACKENDS = (AUTO, SLICE, FAISS, LANCE)
"""The names of what may search an index: see `index.search.backends`."""
