"""Preparation of a command that needs large libraries, before they are imported."""

from __future__ import annotations

import sys
from typing import Any


class NoPandas:
    """A finder by which pandas is not there."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:
        """Raise for pandas; of all else it knows nothing."""
        if name == "pandas":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def prepare() -> None:
    """Refuse to begin where memory is known to be too little, then import pyarrow without pandas.

    At its first conversion pyarrow looks for pandas, once, and imports it: a quarter of a second and 50 MB of a query,
    in which nothing is a frame. Here it finds none; who asks it for a frame later still gets one.
    """
    from index.shortage import require_memory

    require_memory()
    sys.meta_path.insert(0, NoPandas)
    try:
        import pyarrow as pa

        pa.array([])
    finally:
        sys.meta_path.remove(NoPandas)
