"""Decisions made of prices: rules, reviews of price lists, audits of catalogues, and the files that they become."""
