"""Exact search over vectors kept as bytes, with a bound on what the bytes lose."""
