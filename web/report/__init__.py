"""Report of an index: a folder of pages and plots that need no server, no network and no script."""
