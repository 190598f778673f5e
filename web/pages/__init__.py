"""Pages for a browser: plain HTML made here, which works without scripts."""
