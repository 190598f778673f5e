"""Accuracy and cost of the four published systems beside the default: each preset built, and scored out of fold.

    python benchmarks/presets.py CATALOGUE WORK [PRESET ...] [--image-dir DIR]
        [--text-encoder minilm] [--image-encoder mobilenet-v2@FILE]

The encoders are those that stand in for the systems' own, which few machines have; the default keeps its own. WORK
holds an index for each preset, one cache of vectors for all, and the rows' losses: what is there is not built again.
Every build is the command itself, with one thread for each of its parts, and all have 5 folds, the systems' number.
SMAPE is the full definition; groups of near-duplicates are drawn whole for the intervals, and those of differences are
paired: default less preset, so that below 0 ours is better. Writes results/presets.json beside this script: figures
only.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import measure
import numpy as np
from safetensors import safe_open

from engine.serving.scorable import open_scorable_rows
from engine.settings.presets import PRESETS
from index.storage.generations import current_generation

SEED = 0
Losses = dict[str, np.ndarray]  # by stage (n,), and "groups" (n,)


def build(preset: str, given: argparse.Namespace) -> dict[str, float]:
    """An index of the catalogue at WORK/preset, and what it cost."""
    index = given.work / preset
    index.mkdir(parents=True, exist_ok=True)
    if not (index / "cache").exists():
        (given.work / "cache").mkdir(exist_ok=True)
        (index / "cache").symlink_to((given.work / "cache").resolve())
    options = measure.options(index=index, preset=preset, folds=5, seed=SEED, image_dir=given.image_dir)
    if preset != "default":
        options += measure.options(text_encoder=given.text_encoder, image_encoder=given.image_encoder)
    ran = measure.price("build-index", given.catalogue, *options, threads=1)
    return {"minutes": round(ran.wall_seconds / 60, 1), "parameters": parameters(index)}


def parameters(index: Path) -> int:
    """Count the parameters of the networks of one fold; trees have none."""
    total = 0
    for path in (current_generation(index) / "models").glob("*-0.safetensors"):
        with safe_open(path, "np") as file:
            names = [name for name in file.keys() if name[0].isdigit()]  # noqa: SIM118 (it is no mapping)
            total += sum(int(np.prod(file.get_slice(name).get_shape())) for name in names)
    return total


def kept(preset: str, given: argparse.Namespace) -> tuple[Losses, dict[str, float]]:
    """The losses and the cost of a preset, from WORK where they are there already."""
    arrays, cost = given.work / f"{preset}.npz", given.work / f"{preset}.json"
    if not cost.exists():
        cost.write_text(json.dumps(build(preset, given)), encoding="utf-8")
    if not arrays.exists():
        rows = open_scorable_rows(given.work / preset)
        columns: dict[str, Any] = {**measure.stage_losses(rows), "groups": rows.groups}
        np.savez(arrays, **columns)
    with np.load(arrays) as file:
        return dict(file), json.loads(cost.read_text(encoding="utf-8"))


def figures_of(losses: Losses, cost: dict[str, float], default: Losses | None) -> dict[str, Any]:
    """Make the line of the table about one preset."""
    groups = losses["groups"]
    stages = {name: loss for name, loss in losses.items() if name != "groups"}
    *_, uncorrected, answer = stages.values()

    def score(loss: np.ndarray) -> list[float]:
        return measure.interval(loss, groups, seed=SEED, digits=2)

    figures = {
        "rows": len(groups),
        **cost,
        "smape": score(answer),
        "without_correction": score(uncorrected),
        "correction_gains": score(uncorrected - answer),
        "stages": {name: round(float(loss.mean()), 2) for name, loss in stages.items()},
    }
    if default is not None:
        *_, ours = (loss for name, loss in default.items() if name != "groups")
        figures["default_less_preset"] = score(ours - answer)
        figures["default_less_preset_without_correction"] = score(ours - uncorrected)
    return figures


def main() -> None:
    parser = measure.argument_parser(
        __doc__, "catalogue", "work", "--image-dir", "--results", text_encoder="minilm", image_encoder="pixels"
    )
    parser.add_argument("presets", nargs="*", default=[*(name for name in PRESETS if name != "default"), "default"])
    given = parser.parse_args()
    measured = {preset: kept(preset, given) for preset in given.presets}
    default = measured["default"][0] if "default" in measured else None
    table = {preset: figures_of(*parts, None if preset == "default" else default) for preset, parts in measured.items()}
    names = {"text": given.text_encoder.partition("@")[0], "image": given.image_encoder.partition("@")[0]}
    measure.write_results("presets", {"seed": SEED, "encoders": names, "presets": table}, given.results)
    for preset, row in table.items():
        print(f"{preset:16} {row['smape']} without {row['without_correction']} {row['minutes']} min", end=" ")
        print(f"{row['parameters']:,} parameters; default less it {row.get('default_less_preset', '')}")


if __name__ == "__main__":
    main()
