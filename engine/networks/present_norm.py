"""Batch normalisation over the rows that are present.

Source: Ioffe and Szegedy, 2015. An absent photograph is a row of zeros; counted in, the share of photographs in a batch
would move the scale of those that are present.
"""

from __future__ import annotations

from torch import Tensor, nn

LEAST_ROWS = 2  # of fewer, a batch has no spread


class PresentNorm(nn.BatchNorm1d):
    """(n, size) -> (n, size); rows that are not `present` come out as zeros, and are not counted.

    A batch in which fewer than two rows are present is scaled by what was learned so far, and teaches nothing.
    """

    def forward(self, values: Tensor, present: Tensor | None = None) -> Tensor:
        shown = values if present is None else values[present]
        if self.training and len(shown) < LEAST_ROWS:
            shown = nn.functional.batch_norm(
                shown, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
            )
        else:
            shown = super().forward(shown)
        if present is None:
            return shown
        everywhere = values.new_zeros(values.shape)
        everywhere[present] = shown
        return everywhere
