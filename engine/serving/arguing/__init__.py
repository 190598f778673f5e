"""Arguing with a price: comparables left out or pinned, and what each part of an item does."""
