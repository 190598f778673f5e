"""A search for better settings of an index."""
