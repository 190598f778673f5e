"""Photographs by reference: where they come from, what may be fetched, how they are decoded."""
