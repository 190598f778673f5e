"""Where and how exactly is it computed, and is that the same each time?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from index.encoders.weights import choose_runtime
from index.errors import UsageError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Machine:
    """A device, and whether products are in bf16 there (weights, sums and norms stay in fp32)."""

    device: torch.device
    mixed: bool

    @property
    def precision(self) -> str:
        """Its name."""
        return "bf16" if self.mixed else "fp32"

    def products(self) -> AbstractContextManager[object]:
        """In whose block products are in the machine's precision."""
        import torch

        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed)

    @contextmanager
    def repeatable(self, seed: int) -> Iterator[None]:
        """Randomness of `seed` alone, and on a CPU sums in one order; what was set before is set again after."""
        import torch

        devices = [self.device.index or 0] if self.device.type == "cuda" else []
        memory: Any = torch.utils.deterministic
        strict, fills = torch.are_deterministic_algorithms_enabled(), memory.fill_uninitialized_memory
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            try:
                if self.device.type == "cpu":
                    torch.use_deterministic_algorithms(True)
                    memory.fill_uninitialized_memory = False  # which would cost, and changes no result
                yield
            finally:
                torch.use_deterministic_algorithms(strict)
                memory.fill_uninitialized_memory = fills


def choose_machine(device: str, precision: str) -> Machine:
    """`auto` takes a GPU where there is one, and bf16 where the device has instructions for it; else UsageError."""
    import torch

    if precision == "fp16":
        raise UsageError("precision fp16 loses small gradients: give bf16 or fp32.")
    run = choose_runtime(device, precision, cpu="bf16")
    return Machine(run.device, run.dtype == torch.bfloat16)
