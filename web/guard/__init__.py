"""Guards in front of the application, each an ASGI middleware: what may come in, from whom, and how much of it."""
