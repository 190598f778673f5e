"""Claim: texts and photographs become vectors in a fraction of the upstream libraries' time, and the same vectors.

On a catalogue of the user's: CPU seconds an item (all threads together, tokenising and resizing included, decoding
not) of our encoders, of sentence-transformers and timm as they come, and of the runtimes that might have been chosen
instead, in turns in one process; the lowest cosine to the upstream fp32 vector of the same item stands beside each.
ONNX Runtime and OpenVINO are measured where they are installed (pip install onnx onnxruntime openvino).

    python benchmarks/encoders.py --catalogue CSV --image-dir DIR --mobilenet FILE.safetensors
"""

import argparse
import csv
import importlib.util
import json
import os
import platform
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads would be counted as work
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from PIL import Image

from index.encoders import ENCODERS, open_encoder
from index.encoders.hub import locate
from index.encoders.weights import guard_torchvision

RESULT = Path(__file__).parent / "results" / "encoders.json"
Encode = Callable[[list[Any]], np.ndarray]


def ours(name: str, precision: str) -> Encode:
    """Our encoder, given its batches sorted by length as `index.embedding.embed` gives them."""
    encoder = open_encoder(name, device="cpu", precision=precision)

    def encode(items: list[Any]) -> np.ndarray:
        order = sorted(range(len(items)), key=lambda row: encoder.length(items[row]))
        vectors = np.zeros((len(items), encoder.dim), np.float32)
        for start in range(0, len(order), encoder.batch_size):
            rows = order[start : start + encoder.batch_size]
            vectors[rows] = encoder.encode([items[row] for row in rows])
        return vectors

    return encode


def sentence_transformers(folder: Path, dtype: str) -> Encode:
    """The upstream library as it comes."""
    import torch
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": getattr(torch, dtype)})
    return lambda texts: np.asarray(model.encode(texts, show_progress_bar=False, convert_to_numpy=True), np.float32)


def converted_bert(folder: Path, runtime: str, scratch: Path) -> Encode:
    """transformers' BERT run by another runtime, fed by our tokeniser in our order."""
    import torch
    from transformers.models.bert import BertModel

    encoder: Any = open_encoder("minilm", device="cpu", precision="fp32")
    model = BertModel.from_pretrained(folder, attn_implementation="eager", add_pooling_layer=False).eval()

    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            hidden = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
            weight = mask.unsqueeze(-1).float()
            return torch.nn.functional.normalize((hidden * weight).sum(1) / weight.sum(1), dim=1)

    example = (torch.ones(2, 9, dtype=torch.int64), torch.ones(2, 9, dtype=torch.int64))
    run = compiled(Pooled(), example, ("ids", "mask"), runtime, scratch / "bert.onnx")

    def encode(texts: list[str]) -> np.ndarray:
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        vectors = np.zeros((len(texts), encoder.dim), np.float32)
        for start in range(0, len(order), 32):
            tokens = encoder.prepare([texts[row] for row in order[start : start + 32]])
            vectors[order[start : start + 32]] = run(tokens.ids.numpy(), tokens.present.long().numpy())
        return vectors

    return encode


def timm_eager(weights: Path) -> tuple[Any, Callable[[list[np.ndarray]], Any]]:
    """timm's own network and its own transform, of the whole photograph."""
    import timm
    import torch
    from safetensors.torch import load_file

    network = timm.create_model("mobilenetv2_100", pretrained=False, num_classes=0).eval()
    network.load_state_dict(load_file(weights), strict=False)
    settings = {**timm.data.resolve_model_data_config(network), "crop_pct": 1.0, "crop_mode": "squash"}
    transform = timm.data.create_transform(**settings)
    return network, lambda batch: torch.stack([transform(Image.fromarray(photograph)) for photograph in batch])


def photographs_by(run: Callable[..., np.ndarray], transform: Callable[[list[np.ndarray]], Any], size: int) -> Encode:
    """Batches of `size` through timm's transform and a network."""

    def encode(photographs: list[np.ndarray]) -> np.ndarray:
        batches = [photographs[start : start + size] for start in range(0, len(photographs), size)]
        vectors = np.concatenate([run(transform(batch).numpy()) for batch in batches])
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))

    return encode


def compiled(
    network: Any, example: tuple[Any, ...], names: tuple[str, ...], runtime: str, path: Path
) -> Callable[..., np.ndarray]:
    """The network in ONNX Runtime, or in OpenVINO at a precision: arrays in, an array out."""
    import torch

    if runtime == "onnxruntime":
        import onnxruntime

        axes = {
            name: dict(enumerate(["n", "t"] if tensor.ndim == 2 else ["n"]))
            for name, tensor in zip(names, example, strict=True)
        }
        torch.onnx.export(network, example, path, input_names=list(names), dynamic_axes=axes, dynamo=False)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return lambda *arrays: np.asarray(session.run(None, dict(zip(names, arrays, strict=True)))[0])
    import openvino

    with torch.no_grad():
        model = openvino.convert_model(network, example_input=example)
    hint = {"INFERENCE_PRECISION_HINT": runtime.removeprefix("openvino ")}
    ready = openvino.Core().compile_model(model, "CPU", hint)
    return lambda *arrays: np.asarray(ready(list(arrays))[0])


def runtimes() -> list[str]:
    """What could be installed beside torch, and is."""
    wanted = {"onnxruntime": ["onnxruntime"], "openvino": ["openvino f32", "openvino bf16"]}
    return [name for module, names in wanted.items() if importlib.util.find_spec(module) for name in names]


def measure(ways: dict[str, Encode], items: list[Any], rounds: int) -> list[dict[str, Any]]:
    """CPU and wall milliseconds an item, the best of `rounds` taken in turns; the first way is the reference."""
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    vectors = {}
    for _ in range(rounds):
        for name, encode in ways.items():
            encode(items[:8])
            cpu, wall = time.process_time(), time.perf_counter()
            vectors[name] = encode(items)
            took[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    first = next(iter(ways))
    rows = []
    for name in ways:
        cpu, wall = (min(column) / len(items) * 1e3 for column in zip(*took[name], strict=True))
        closest = float((vectors[name] * vectors[first]).sum(1).min())
        rows.append(
            {"way": name, "cpu_ms": round(cpu, 2), "wall_ms": round(wall, 2), "lowest_cosine": round(closest, 6)}
        )
    for row in rows:
        row["times_as_fast"] = round(rows[0]["cpu_ms"] / row["cpu_ms"], 2)
    return rows


def read_photographs(folder: Path) -> list[np.ndarray]:
    """Every photograph of the folder that can be read."""
    photographs = []
    for path in sorted(folder.iterdir()):
        try:
            photographs.append(np.asarray(Image.open(path).convert("RGB")))
        except OSError:
            continue  # truncated; what a build says of it is measured elsewhere
    return photographs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalogue", type=Path, required=True, help="CSV with a column catalog_content")
    parser.add_argument("--image-dir", type=Path, required=True)
    parser.add_argument("--mobilenet", type=Path, required=True, help="weights of timm's mobilenetv2_100")
    parser.add_argument("--texts", type=int, default=384)
    parser.add_argument("--photographs", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    guard_torchvision()
    rows = list(csv.DictReader(options.catalogue.open(newline="", encoding="utf-8")))
    shuffled = random.Random(0).sample(rows, min(options.texts, len(rows)))  # noqa: S311
    texts = [row["catalog_content"] for row in shuffled]
    photographs = read_photographs(options.image_dir)[: options.photographs]
    folder, network_and_transform = locate(ENCODERS["minilm"], None), timm_eager(options.mobilenet)
    network, transform = network_and_transform
    import torch

    def eager(array: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return np.asarray(network(torch.from_numpy(array)))

    mobilenet = f"mobilenet-v2@{options.mobilenet}"
    with tempfile.TemporaryDirectory() as made:
        scratch = Path(made)
        for_texts = {
            "sentence-transformers fp32": sentence_transformers(folder, "float32"),
            "sentence-transformers bf16": sentence_transformers(folder, "bfloat16"),
            "ours fp32": ours("minilm", "fp32"),
            "ours auto": ours("minilm", "auto"),
        } | {name: converted_bert(folder, name, scratch) for name in runtimes()}
        example = (torch.zeros(2, 3, 224, 224),)
        for_photographs = {
            "timm fp32, batches of 32": photographs_by(eager, transform, 32),
            "ours auto": ours(mobilenet, "auto"),
            "ours bf16": ours(mobilenet, "bf16"),
            "pixels": ours("pixels", "auto"),
        } | {
            name: photographs_by(compiled(network, example, ("x",), name, scratch / "net.onnx"), transform, 16)
            for name in runtimes()
        }
        pixels = for_photographs.pop("pixels")
        found = {
            "machine": {"cores": os.cpu_count(), "processor": platform.processor(), "torch": torch.__version__},
            "texts": {"count": len(texts), "ways": measure(for_texts, texts, options.rounds)},
            "photographs": {"count": len(photographs), "ways": measure(for_photographs, photographs, options.rounds)},
            "pixels": measure({"pixels": pixels}, photographs, options.rounds)[0],
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
