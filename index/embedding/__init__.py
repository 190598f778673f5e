"""Items to unit vectors, in batches, each content encoded once."""
