"""Device and precision of a computation: what was asked for, and what this machine gives for it.

It knows torch's devices and number types, and nothing of networks; torch is imported where it is first needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from index.errors import UsageError

if TYPE_CHECKING:
    import torch

    from index.encoders.registry import EncoderSpec

DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}  # our name -> torch's
PRECISIONS = ("auto", *DTYPES)
GPU_BATCH = 8  # a GPU is given this many times the batch that suits a CPU


@dataclass(frozen=True)
class Runtime:
    """The device and precision asked for: they change the speed of encoders, never which vectors they mean.

    Raises UsageError for those that no machine has.
    """

    device: str = "auto"  # auto, cpu, cuda or cuda:N
    precision: str = "auto"  # one of PRECISIONS

    def __post_init__(self) -> None:
        if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,4})?", self.device):
            raise UsageError(f"device '{self.device}' is not known: use auto, cpu, cuda or cuda:N.")
        if self.precision not in PRECISIONS:
            raise UsageError(f"precision '{self.precision}' is not one of {', '.join(PRECISIONS)}.")

    def resolve(self, *, cpu: str = "fp32", gpu: str = "bf16") -> Device:
        """Return what is used: `auto` may fall back; anything named is used, or refused with a UsageError.

        `cpu` and `gpu` say what the precision `auto` means there.
        """
        import torch

        chosen = self._torch_device()
        name = self.precision if self.precision != "auto" else (gpu if chosen.type == "cuda" else cpu)
        # Without its instructions bf16 is emulated, and slower than fp32.
        if self.precision == "auto" and chosen.type == "cpu" and not torch.cpu._is_avx512_bf16_supported():
            name = "fp32"
        return Device(chosen, getattr(torch, DTYPES[name]))

    def resolve_for_training(self) -> Device:
        """Resolve for training, where `auto` is bf16 if the device has instructions for it; UsageError for fp16."""
        if self.precision == "fp16":
            raise UsageError("precision fp16 loses small gradients: give bf16 or fp32.")
        return self.resolve(cpu="bf16")

    def _torch_device(self) -> torch.device:
        import torch

        name = self.device
        if name == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        kind, _, number = name.partition(":")
        if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
            raise UsageError(f"device '{name}' is not on this machine: use --device auto or --device cpu.")
        return torch.device(name)


AUTO = Runtime()


@dataclass(frozen=True)
class Device:
    """The device that is used, and the number type of products there."""

    device: torch.device
    dtype: torch.dtype

    @property
    def precision(self) -> str:
        """The name of the number type: fp32, bf16 or fp16."""
        return next(name for name, dtype in DTYPES.items() if str(self.dtype) == f"torch.{dtype}")

    def batch_size(self, spec: EncoderSpec) -> int:
        """Return how many items a batch of an encoder should hold here."""
        return spec.batch_size * (GPU_BATCH if self.device.type == "cuda" else 1)

    def products(self) -> AbstractContextManager[object]:
        """Compute products in this precision inside the block; weights, sums and norms stay in fp32."""
        import torch

        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    @contextmanager
    def repeatable(self, seed: int) -> Iterator[None]:
        """Draw all randomness from `seed`, and on a CPU sum in one order; what was set before is set again after."""
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


@contextmanager
def one_thread_each() -> Iterator[int]:
    """Compute on one thread in each thread of Python inside the block; yields how many of them make up torch's own.

    A sum that is split among threads is another in its last digits for another number of them, and waiting for each
    other after every product costs them more than it gains.
    """
    import torch

    threads = torch.get_num_threads()
    with torch_threads(1):
        yield threads


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Compute with `count` of torch's threads inside the block; the number before is set again after."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
