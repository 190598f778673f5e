"""Audits of a catalogue: rows whose own price cannot be, and what fault would explain it."""
