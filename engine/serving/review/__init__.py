"""Reviews of price lists: what to set by rules, what is at stake, and how sure that is."""
