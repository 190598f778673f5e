"""Pricing behind the server: open indexes that follow their generations, batches, and photographs that were given."""
