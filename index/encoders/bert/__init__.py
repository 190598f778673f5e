"""BERT: its shape, its network in torch, and the same forward pass in numpy for a single item."""
