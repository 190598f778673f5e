"""Claims about devices: what auto means, what is refused, and that nothing set for a block outlives it."""

import pytest

from index.encoders.device import AUTO, Runtime, torch_threads
from index.encoders.registry import ENCODERS
from index.errors import UsageError


def test_the_names_of_precisions_come_back() -> None:
    assert [Runtime("cpu", name).resolve().precision for name in ("fp32", "bf16", "fp16")] == ["fp32", "bf16", "fp16"]


def test_training_takes_no_fp16() -> None:
    with pytest.raises(UsageError, match="fp16 loses small gradients"):
        Runtime("cpu", "fp16").resolve_for_training()
    assert AUTO.resolve_for_training().precision in ("fp32", "bf16")


def test_products_are_in_the_precision_and_sums_are_not() -> None:
    import torch

    matrix = torch.ones(2, 2)
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with Runtime("cpu", name).resolve().products():
            assert (matrix @ matrix).dtype is dtype
            assert matrix.sum().dtype is torch.float32


def test_randomness_of_a_block_is_of_its_seed_alone() -> None:
    import torch

    device = Runtime("cpu").resolve()
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    draws = []
    for _ in range(2):
        with device.repeatable(3):
            assert torch.are_deterministic_algorithms_enabled()
            draws.append(torch.rand(4))
    assert torch.equal(*draws)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not torch.are_deterministic_algorithms_enabled()


def test_threads_set_for_a_block_are_set_back_also_after_an_error() -> None:
    import torch

    before = torch.get_num_threads()
    with pytest.raises(KeyError), torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise KeyError
    assert torch.get_num_threads() == before


def test_a_batch_on_a_cpu_is_as_large_as_the_catalogue_says() -> None:
    assert Runtime("cpu").resolve().batch_size(ENCODERS["minilm"]) == ENCODERS["minilm"].batch_size
