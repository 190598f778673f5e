"""Kinds of file: an opened file -> its header and its records of text cells, whatever kind of file it is."""
