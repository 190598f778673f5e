"""The loop over postings, compiled: importing this file imports numba, so it is imported where many items come."""

from __future__ import annotations

import numpy as np

from index.arrays import Float32, Int32, Int64
from index.compiled import compiled


@compiled
def add_cosines(
    row_starts: Int64, at: Int32, kind_ends: Int64, weight: Float32, factor: Float32, starts: Int64, landmarks: Int64,
    summed: Float32,
) -> None:  # fmt: skip
    """Add to (n, m) the sums of share times cosine, as `Postings.cosines` says; of the first m landmarks."""
    m = summed.shape[1]
    of_kind = np.empty(m, np.float32)
    for row in range(summed.shape[0]):
        begin = row_starts[row]
        for kind in range(len(kind_ends)):
            end, square = begin, np.float32(0)
            while end < row_starts[row + 1] and at[end] < kind_ends[kind]:
                square += weight[at[end]] * weight[at[end]]
                end += 1
            if square > 0:
                of_kind[:] = 0
                norm = np.sqrt(square)
                for word in at[begin:end]:
                    share = weight[word] * weight[word] / norm
                    for place in range(starts[word], starts[word + 1]):
                        landmark = landmarks[place]
                        if landmark >= m:
                            break
                        of_kind[landmark] += share
                for landmark in range(m):
                    summed[row, landmark] += of_kind[landmark] * factor[kind, landmark]
            begin = end
