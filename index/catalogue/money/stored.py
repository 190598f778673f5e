"""Prices of stored rows in money, as the catalogue has them; the table of items keeps logs in single precision."""

import numpy as np

from index.arrays import Float64

MOST_PLACES, FEWEST_PLACES = 4, -3  # behind the point; -3 are thousands


def stored_prices(log_price: Float64) -> Float64:
    """Return the prices (n,) whose logs the table has: of all that it could mean, those with the fewest digits.

    The exponential of a log in single precision is off by up to half a millionth: 18,990 would be 18,990.01.
    """
    price = np.exp(np.asarray(log_price, np.float64))
    stored, shortest = np.float32(log_price), price.copy()
    for places in range(MOST_PLACES, FEWEST_PLACES - 1, -1):
        rounded = np.round(price, places)
        log = np.log(rounded, where=rounded > 0, out=np.full_like(price, np.nan))
        shortest = np.where(np.float32(log) == stored, rounded, shortest)
    return shortest
