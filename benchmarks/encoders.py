"""Speed of the encoders against the upstream libraries, at equal vectors.

On a catalogue of the user's: CPU seconds an item (all threads together, tokenising and resizing included, decoding
not) of our encoders, and of sentence-transformers and timm as they come, in turns in one process; the lowest cosine to
the upstream fp32 vector of the same item stands beside each.

    python benchmarks/encoders.py --catalogue CSV --image-dir DIR --mobilenet FILE.safetensors
"""

import json
import os
import platform
import random
import resource
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads would be counted as work

import measure
import numpy as np
from PIL import Image

from index.arrays import chunks, unit_rows
from index.encoders import ENCODERS, open_encoder
from index.encoders.hub import locate
from index.encoders.weights import guard_torchvision

Encode = Callable[[list[Any]], np.ndarray]


def ours(name: str, precision: str) -> Encode:
    """Our encoder, given its batches sorted by length as `index.embedding.embed` gives them."""
    encoder = open_encoder(name, device="cpu", precision=precision)

    def encode(items: list[Any]) -> np.ndarray:
        order = sorted(range(len(items)), key=lambda row: encoder.length(items[row]))
        vectors = np.zeros((len(items), encoder.dim), np.float32)
        for run in chunks(len(order), encoder.batch_size):
            vectors[order[run]] = encoder.encode([items[row] for row in order[run]])
        return vectors

    return encode


def sentence_transformers(folder: Path, dtype: str) -> Encode:
    """The upstream library as it comes."""
    import torch
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": getattr(torch, dtype)})
    return lambda texts: np.asarray(model.encode(texts, show_progress_bar=False, convert_to_numpy=True), np.float32)


def timm_eager(weights: Path) -> Encode:
    """timm's own network and its own transform, of the whole photograph, in batches of 32."""
    import timm
    import torch
    from safetensors.torch import load_file
    from timm.data.config import resolve_model_data_config
    from timm.data.transforms_factory import create_transform

    network = timm.create_model("mobilenetv2_100", pretrained=False, num_classes=0).eval()
    network.load_state_dict(load_file(weights), strict=False)
    describe: Any = resolve_model_data_config
    settings = {**describe(network), "crop_pct": 1.0, "crop_mode": "squash"}
    transform = create_transform(**settings)

    def encode(photographs: list[np.ndarray]) -> np.ndarray:
        vectors = []
        for run in chunks(len(photographs), 32):
            images = torch.stack([transform(Image.fromarray(photograph)) for photograph in photographs[run]])
            with torch.inference_mode():
                vectors.append(network(images).numpy())
        return unit_rows(np.concatenate(vectors))

    return encode


def compare(ways: dict[str, Encode], items: list[Any], rounds: int) -> list[dict[str, Any]]:
    """CPU and wall milliseconds an item, the best of `rounds` taken in turns; the first way is the reference."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    vectors = {}
    for _ in range(rounds):
        for name, encode in ways.items():
            encode(items[:8])
            cpu, wall = time.process_time(), time.perf_counter()
            vectors[name] = encode(items)
            spent[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    reference, rows = next(iter(vectors.values())), []
    for name in ways:
        cpu, wall = (round(min(column) / len(items) * 1e3, 2) for column in zip(*spent[name], strict=True))
        cosine = round(float((vectors[name] * reference).sum(1).min()), 6)
        rows.append({"way": name, "cpu_ms": cpu, "wall_ms": wall, "lowest_cosine": cosine})
        rows[-1]["times_as_fast"] = round(rows[0]["cpu_ms"] / cpu, 2)
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
    parser = measure.argument_parser(__doc__, texts=384, photographs=192, rounds=3)
    parser.add_argument("--catalogue", type=Path, required=True, help="CSV with a column catalog_content")
    parser.add_argument("--image-dir", type=Path, required=True)
    parser.add_argument("--mobilenet", type=Path, required=True, help="weights of timm's mobilenetv2_100")
    given = parser.parse_args()
    guard_torchvision()
    rows = measure.read_csv(given.catalogue)
    shuffled = random.Random(0).sample(rows, min(given.texts, len(rows)))  # noqa: S311
    texts = [row["catalog_content"] for row in shuffled]
    photographs = read_photographs(given.image_dir)[: given.photographs]
    folder, mobilenet = locate(ENCODERS["minilm"], None), f"mobilenet-v2@{given.mobilenet}"
    for_texts = {
        "sentence-transformers fp32": sentence_transformers(folder, "float32"),
        "sentence-transformers bf16": sentence_transformers(folder, "bfloat16"),
        "ours fp32": ours("minilm", "fp32"),
        "ours auto": ours("minilm", "auto"),
    }
    for_photographs = {
        "timm fp32, batches of 32": timm_eager(given.mobilenet),
        "ours auto": ours(mobilenet, "auto"),
        "ours bf16": ours(mobilenet, "bf16"),
    }
    report = {
        "machine": {"cores": os.cpu_count(), "processor": platform.processor(), "torch": version("torch")},
        "texts": {"count": len(texts), "ways": compare(for_texts, texts, given.rounds)},
        "photographs": {"count": len(photographs), "ways": compare(for_photographs, photographs, given.rounds)},
        "pixels": compare({"pixels": ours("pixels", "auto")}, photographs, given.rounds)[0],
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    measure.write_results("encoders", report)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
