"""Nearest neighbours among unit vectors within a band of log price."""
