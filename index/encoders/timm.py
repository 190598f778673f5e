"""Convolutional encoders of timm, of photographs: networks trained on ImageNet."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from index.arrays import Float32
from index.encoders import hub
from index.encoders.device import Device, Runtime
from index.encoders.encoder import Encoder
from index.encoders.registry import EncoderSpec
from index.encoders.weights import (
    check_hashes,
    guard_torchvision,
    identity_of,
    read_tensors,
    refuse_unsafe,
    require_library,
    tensor_shapes,
    to_unit_rows,
    without_known_hashes,
)

if TYPE_CHECKING:
    import torch

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
"""ImageNet's colours, by which these networks were trained."""


class Timm(Encoder):
    """A photograph encoder: the network's pooled features before its classifier, at unit length."""

    def __init__(self, spec: EncoderSpec, identity: str, network: Any, device: Device) -> None:
        super().__init__(spec, identity, device.batch_size(spec))
        self.on_cpu = device.device.type == "cpu"
        self._network = network
        self._device = device

    def prepare(self, batch: Sequence[np.ndarray]) -> np.ndarray:
        """Photographs (h, w, 3) uint8 to squares (n, side, side, 3) uint8.

        The whole photograph is squashed (timm's crop_mode "squash" with crop_pct 1). timm's default cuts the edges
        off, which on shop photographs are the top and bottom of the product, and finds worse neighbours.
        """
        side = (self.spec.image_size, self.spec.image_size)
        bicubic = Image.Resampling.BICUBIC
        return np.stack([np.asarray(Image.fromarray(photograph).resize(side, bicubic)) for photograph in batch])

    def forward(self, prepared: np.ndarray) -> Float32:
        """Squares to unit rows (n, dim) float32."""
        import torch

        with torch.inference_mode():
            pixels = normalised(torch.from_numpy(prepared).to(self._device.device))
            return to_unit_rows(self._network(pixels.to(self._device.dtype)))


def normalised(squares: "torch.Tensor") -> "torch.Tensor":
    """Squares (n, side, side, 3) uint8 to what the networks read: (n, 3, side, side) float32, channels last."""
    import torch

    mean, deviation = (torch.tensor(values, device=squares.device).view(3, 1, 1) for values in (MEAN, DEVIATION))
    return (squares.permute(0, 3, 1, 2).float() / 255 - mean) / deviation


def open_timm(spec: EncoderSpec, path: Path | None, runtime: Runtime) -> Timm:
    """Open the encoder with its published weights, or those at `path`: a safetensors file, or a folder with one."""
    import torch

    require_library("timm", spec, "timm")
    device = runtime.resolve(gpu="fp16")
    if path is not None and path.is_file():
        weights = path
    else:
        weights = hub.weight_files(hub.locate(spec, path), "model.safetensors")[0]
    refuse_unsafe(weights)
    hashes = check_hashes(spec if path is None else without_known_hashes(spec), [weights])
    network = fold_norms(read_network(spec, weights)).to(device.device, device.dtype)
    network.to(memory_format=torch.channels_last)  # nearly halves the time of a convolution on a CPU
    return Timm(spec, identity_of(spec, hashes), network, device)


def read_network(spec: EncoderSpec, weights: Path) -> Any:
    """Read the network without its classifier, filled and checked, as it was trained: with batch norms of their own."""
    import torch

    guard_torchvision()
    import timm

    with torch.device("meta"):
        network = timm.create_model(spec.architecture, pretrained=False, num_classes=0)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    # Counters that only training reads; some files leave them out, and all may.
    counters = {name: shape for name, shape in shapes.items() if name.endswith("num_batches_tracked")}
    expected = {name: shape for name, shape in shapes.items() if name not in counters}
    unread = counters | _classifier(weights)
    tensors = read_tensors(weights, expected, unread)
    tensors |= {name: torch.zeros((), dtype=torch.int64) for name in counters}
    network.load_state_dict(tensors, assign=True)
    return network.eval()


def fold_norms(network: Any) -> Any:
    """Return the same network with each batch norm multiplied into the convolution before it, leaving its activation.

    In use a batch norm is a fixed scale and shift; as a step of its own it takes a third of the time (measured on a
    CPU).
    """
    from torch import fx, nn
    from torch.nn.utils.fusion import fuse_conv_bn_weights

    class Tracer(fx.Tracer):
        def is_leaf_module(self, module: nn.Module, name: str) -> bool:
            return isinstance(module, nn.BatchNorm2d) or super().is_leaf_module(module, name)

    graph = fx.GraphModule(network, Tracer().trace(network))
    parts = dict(graph.named_modules())
    for node in graph.graph.nodes:
        norm = parts.get(node.target) if node.op == "call_module" else None
        if not isinstance(norm, nn.BatchNorm2d):
            continue
        before = node.args[0]
        convolution = parts.get(before.target) if before.op == "call_module" else None
        if isinstance(convolution, nn.Conv2d) and len(before.users) == 1:
            statistics: Any = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
            convolution.weight, bias = fuse_conv_bn_weights(convolution.weight, convolution.bias, *statistics)
            convolution.bias = bias
            graph.set_submodule(node.target, getattr(norm, "act", nn.Identity()))
    graph.recompile()
    return graph


def _classifier(weights: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the classifier, of any number of classes, that published files end in and that is left unread."""
    shapes = tensor_shapes([weights])
    return {name: shapes[name] for name in ("classifier.weight", "classifier.bias") if name in shapes}
