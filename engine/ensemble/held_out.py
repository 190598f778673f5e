"""Prices of a catalogue's own rows by models that saw neither them nor their near-duplicates, each with its interval.

What an evaluation scored them by when the models were fitted (`engine.ensemble.cross_fit`), kept so that an audit need
not price every row again.
"""

from __future__ import annotations

from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from index.contents import expect, loading
from index.storage.layout import HELD_OUT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from engine.ensemble.cross_fit import HeldOutPredictions
    from index.arrays import Float64, Int64


@dataclass(frozen=True)
class HeldOutPrices:
    """Prices of n rows that the models were fitted on, each (n,) log price."""

    answer: Float64
    low: Float64
    high: Float64

    @classmethod
    def of(cls, scored: HeldOutPredictions) -> Self:
        """The last stage of an evaluation and its interval."""
        return cls(scored.answer, scored.spread.low, scored.spread.high)

    def take(self, rows: NDArray[np.integer]) -> HeldOutPrices:
        """The prices of some rows, in that order."""
        return HeldOutPrices(self.answer[rows], self.low[rows], self.high[rows])

    def among(self, places: Int64, rows: int) -> HeldOutPrices:
        """The same prices at `places` (n,) among so many rows, of which the others have none."""
        whole = np.full((3, rows), np.nan)
        whole[:, places] = astuple(self)
        return HeldOutPrices(*whole)

    def write(self, folder: Path) -> None:
        """Write into the folder of a generation; of all its rows, those without a price as NaN."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table(asdict(self)), folder / HELD_OUT)

    @classmethod
    def read(cls, folder: Path, rows: Int64) -> Self:
        """Read the prices of `rows` (n,), which have some. IndexUnusable for contents that no build writes."""
        import pyarrow.parquet as pq

        with loading(folder / HELD_OUT):
            table = pq.read_table(folder / HELD_OUT)
            expect(table.num_rows > rows.max(initial=-1), "it has fewer rows than the index")
            columns = [table[name].to_numpy()[rows] for name in ("answer", "low", "high")]
            expect(all(column.dtype == np.float64 for column in columns), "a price is no number")
            expect(np.isfinite(columns).all(), "a price is no number")
            answer, low, high = columns
            expect((low <= high).all(), "an interval has no ends")
            return cls(answer, low, high)
