"""Money in the cells of a file: amounts, currencies and rates of exchange."""
