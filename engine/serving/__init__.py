"""Prices for items: one query, a file, many workers."""
