"""The server: an API and pages that price items by open indexes, through the engine's `Pricer`."""
