"""Multiply queries with the rows of an index on a GPU, in half precision, with the half's own error as the bound."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from index.arrays import Int64
from index.search.price_order import PriceOrder, Tile

GPU_TILE_BYTES = 2**30
GPU_SPARE_BYTES = 4 * GPU_TILE_BYTES  # a tile in float32 and float16, its masks, what they leave, and what others take
HALF_ERROR = 2.0**-10  # of a product of unit vectors rounded to float16, in and out; tiny numbers are added for


def gpu_bytes(rows: int, dim: int) -> int:
    """Bytes that a GPU must have free for `rows` vectors of `dim` numbers as float16, and for multiplying them."""
    return rows * dim * 2 + GPU_SPARE_BYTES


def free_gpu_memory() -> int:
    """Free memory of the GPU that would be used, in bytes; 0 where there is none."""
    import torch

    return int(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else 0


class GpuProduct:
    """The rows on a GPU as float16, multiplied there. Runs on any device of torch's, which is how it is tested."""

    def __init__(self, rows: PriceOrder, device: str) -> None:
        import torch

        torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False  # the bound needs float32 sums
        self._torch = torch
        self._device = torch.device(device)
        self._vectors = torch.from_numpy(np.ascontiguousarray(rows.vectors, np.float16)).to(self._device)
        # A number below float16's normal ones is off by up to 2^-25, whatever its size; dim of them by its root.
        self._error = 2 * (3 * HALF_ERROR + 2 * 2.0**-25 * float(np.sqrt(rows.vectors.shape[1])))

    def candidates(self, tile: Tile, k: int) -> Iterable[Int64]:
        """Return for each query the positions of what may be among its k nearest."""
        torch, device = self._torch, self._device
        queries = torch.from_numpy(tile.queries.astype(np.float16)).to(device)
        scores: Any = (queries @ self._vectors[tile.low : tile.high].T).float()
        place = torch.arange(tile.high - tile.low, device=device)
        first, last = torch.from_numpy(tile.start).to(device), torch.from_numpy(tile.end).to(device)
        scores.masked_fill_((place < first[:, None]) | (place >= last[:, None]), -torch.inf)
        for score, excluded in zip(scores, tile.excluded, strict=True):
            if len(excluded):
                score[torch.from_numpy(excluded).to(device)] = -torch.inf
        threshold = scores.topk(min(k, tile.high - tile.low), dim=1).values[:, -1:] - self._error
        query, position = torch.nonzero((scores >= threshold) & (scores > -torch.inf), as_tuple=True)
        cuts = torch.bincount(query, minlength=len(tile.queries)).cumsum(0)[:-1].cpu().numpy()
        return np.split(position.cpu().numpy(), cuts)
