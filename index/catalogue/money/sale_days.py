"""Days on which a sale price, or a discount, is what is paid: an export keeps those that are over or yet to come."""

import datetime as dt
from collections.abc import Mapping

from index.catalogue.dates import DateReader, decide_dates

MOST_AHEAD = dt.timedelta(days=3653)  # a sale's end may lie in the future, so much and no more


class SaleDays:
    """Days of a file's sales, all written in one way; `cells`, with how often they occur, tell which."""

    def __init__(self, cells: Mapping[str, int], today: dt.date) -> None:
        self._today = today
        self._dates = DateReader(decide_dates(cells, as_of=today + MOST_AHEAD))

    def hold(self, start: str, end: str) -> bool:
        """Tell whether today lies between two days, both of them included; what is no day is no bound."""
        first, last = self._dates.read(start), self._dates.read(end)
        return not (isinstance(first, dt.date) and self._today < first) and not (
            isinstance(last, dt.date) and self._today > last
        )
