"""What a query hears of the catalogue: every row's place in the search space, price, residual, and what to show of it.

Drawn from the items table and the models at build, in one Arrow file that is mapped into memory, so that a query opens
in milliseconds and reads only what it needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

FILE = "comparables.arrow"
SHOWN = ("item_id", "name", "image")


@dataclass(frozen=True)
class Comparables:
    """m rows of the catalogue."""

    shown: pa.Table  # (m,) item_id, name, image
    space: NDArray[np.float32]  # (m, dim) unit rows: what is searched
    log_price: NDArray[np.float64]  # (m,)
    residual: NDArray[np.float64]  # (m,) log price less the blend's out-of-fold prediction


def write_comparables(folder: Path, rows: Comparables) -> None:
    """As `folder`/comparables.arrow."""
    import pyarrow as pa

    space = pa.FixedSizeListArray.from_arrays(pa.array(rows.space.reshape(-1)), rows.space.shape[1])
    table = rows.shown.select(SHOWN).combine_chunks()
    for name, column in (("log_price", rows.log_price), ("residual", rows.residual), ("space", space)):
        table = table.append_column(name, pa.array(column) if isinstance(column, np.ndarray) else column)
    with pa.OSFile(str(folder / FILE), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=max(1, table.num_rows))  # one chunk, so that arrays map without a copy


def read_comparables(folder: Path) -> Comparables:
    """What `write_comparables` wrote; the manifest has checked the file before."""
    import pyarrow as pa

    table = pa.ipc.open_file(pa.memory_map(str(folder / FILE))).read_all().combine_chunks()
    space = table["space"].chunk(0)
    return Comparables(
        shown=table.select(SHOWN),
        space=space.flatten().to_numpy().reshape(-1, space.type.list_size),
        log_price=table["log_price"].to_numpy(),
        residual=table["residual"].to_numpy(),
    )
