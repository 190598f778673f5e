"""BERT: its shape, and its network in torch."""
