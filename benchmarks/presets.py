"""How well do the four published systems do on a catalogue, beside ours? Each preset built, and scored out of fold.

    python benchmarks/presets.py CATALOGUE WORK [PRESET ...] [--image-dir DIR]
        [--text-encoder minilm] [--image-encoder mobilenet-v2@FILE]

The encoders are those that stand in for the systems' own, which few machines have; the default keeps its own. WORK
holds an index for each preset, one cache of vectors for all, and the rows' losses: what is there is not built again.
Every build is the command itself, with one thread for each of its parts, and all have 5 folds, the systems' number.
SMAPE is the full definition; intervals are drawn by twins, and those of differences are paired: default less preset, so
that below 0 ours is better. Writes results/presets.json beside this script: figures only.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from engine.serving.reference import read_comparables
from safetensors import safe_open

from engine.ensemble.cross_fit import cross_fit
from engine.ensemble.out_of_fold import read_out_of_fold
from engine.metrics import bootstrap, paired_bootstrap, row_smape
from engine.settings.presets import PRESETS
from engine.settings.read import settings_from
from index.storage.generations import current_generation
from index.storage.items_table import ItemStore
from index.storage.manifest import read_manifest

RESULTS = Path(__file__).parent / "results" / "presets.json"
SEED = 0


def build(preset: str, given: argparse.Namespace) -> dict[str, float]:
    """An index of the catalogue at WORK/preset, and what it cost."""
    index = given.work / preset
    index.mkdir(parents=True, exist_ok=True)
    if not (index / "cache").exists():
        (given.work / "cache").mkdir(exist_ok=True)
        (index / "cache").symlink_to((given.work / "cache").resolve())
    command = [str(Path(sys.executable).parent / "price"), "build-index", str(given.catalogue), "--index", str(index)]
    command += ["--preset", preset, "--folds", "5", "--seed", str(SEED), "--json"]  # the systems' own number
    command += ["--image-dir", str(given.image_dir)] if given.image_dir else []
    if preset != "default":
        command += ["--text-encoder", given.text_encoder, "--image-encoder", given.image_encoder]
    started = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return {"minutes": round((time.monotonic() - started) / 60, 1), "parameters": parameters(index)}


def parameters(index: Path) -> int:
    """Of the networks of one fold; trees have none."""
    models = current_generation(index) / "models"
    total = 0
    for path in models.glob("*-0.safetensors"):
        with safe_open(path, "np") as file:
            names = [name for name in file.keys() if name[0].isdigit()]  # noqa: SIM118 (it is no mapping)
            total += sum(int(np.prod(file.get_slice(name).get_shape())) for name in names)
    return total


def losses(index: Path) -> dict[str, np.ndarray]:
    """SMAPE of every row by stage, each (n,), and "groups" of twins (n,)."""
    folder = current_generation(index)
    rows, settings = read_comparables(folder), settings_from(read_manifest(folder).settings)
    log_price = rows.goods.log_price
    held = cross_fit(read_out_of_fold(folder), log_price, rows.space, settings)[1]
    stages = {name: row_smape(np.exp(log_price), np.exp(stage)) for name, stage in held.stages.items()}
    return {**stages, "groups": ItemStore.open(folder).items(["group"])["group"].to_numpy()}


def kept(preset: str, given: argparse.Namespace) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """The losses and the cost of a preset, from WORK where they are there already."""
    arrays, cost = given.work / f"{preset}.npz", given.work / f"{preset}.json"
    if not cost.exists():
        cost.write_text(json.dumps(build(preset, given)), encoding="utf-8")
    if not arrays.exists():
        np.savez(arrays, **losses(given.work / preset))
    with np.load(arrays) as file:
        return dict(file), json.loads(cost.read_text(encoding="utf-8"))


def score(values: np.ndarray, groups: np.ndarray) -> list[float]:
    """The mean and its 95% interval."""
    return [round(float(each), 2) for each in (values.mean(), *bootstrap(values, groups=groups, seed=SEED))]


def less(one: np.ndarray, other: np.ndarray, groups: np.ndarray) -> list[float]:
    """The mean of one - other and its paired 95% interval."""
    return [round(each, 2) for each in ((one - other).mean(), *paired_bootstrap(one, other, groups=groups, seed=SEED))]


def row_of(rows: dict[str, np.ndarray], cost: dict[str, float], ours: dict[str, np.ndarray] | None) -> dict:
    """What the table says of one preset."""
    groups = rows["groups"]
    *_, without, answer = (name for name in rows if name != "groups")
    said = {
        "rows": len(groups),
        **cost,
        "smape": score(rows[answer], groups),
        "without_correction": score(rows[without], groups),
        "correction_gains": less(rows[without], rows[answer], groups),
        "stages": {name: round(float(rows[name].mean()), 2) for name in rows if name != "groups"},
    }
    if ours is not None:
        *_, own = (name for name in ours if name != "groups")
        said["default_less_preset"] = less(ours[own], rows[answer], groups)
        said["default_less_preset_without_correction"] = less(ours[own], rows[without], groups)
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalogue", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("presets", nargs="*", default=[*(name for name in PRESETS if name != "default"), "default"])
    parser.add_argument("--image-dir", type=Path)
    parser.add_argument("--text-encoder", default="minilm")
    parser.add_argument("--image-encoder", default="pixels")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    measured = {preset: kept(preset, given) for preset in given.presets}
    ours = measured["default"][0] if "default" in measured else None
    table = {preset: row_of(*each, None if preset == "default" else ours) for preset, each in measured.items()}
    names = {"text": given.text_encoder.partition("@")[0], "image": given.image_encoder.partition("@")[0]}
    report = {"seed": SEED, "encoders": names, "presets": table}
    given.results.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for preset, said in table.items():
        print(f"{preset:16} {said['smape']} without {said['without_correction']} {said['minutes']} min", end=" ")
        print(f"{said['parameters']:,} parameters; default less it {said.get('default_less_preset', '')}")


if __name__ == "__main__":
    main()
