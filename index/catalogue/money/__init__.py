"""Money in the cells of a file: amounts, currencies and rates of exchange."""

LOWEST_PRICE, HIGHEST_PRICE = 1e-6, 1e12  # what is outside is a slip, and float32 would lose it
