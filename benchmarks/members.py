"""What does each setting of a member bring? Members fitted anew out of fold on the vectors of an index.

    python benchmarks/members.py INDEX [VARIANT ...]

Each variant is a table in members.toml: the member, and settings changed from the default. Prints SMAPE out of fold of
the member alone, and of its blend with the index's other members, whose predictions stand in the index. Writes
results/members.json.
"""

import argparse
import json
import time
import tomllib
from pathlib import Path

import numpy as np

from engine.ensemble.blend import blend, fit_weights
from engine.ensemble.out_of_fold import read_out_of_fold
from engine.features.inputs import make_inputs
from engine.members.registry import member_fits
from engine.metrics import smape
from engine.settings.read import change_settings, settings_from
from index.embedding.columns import modalities
from index.storage.generations import current_generation
from index.storage.items_table import ItemStore
from index.storage.manifest import read_manifest

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path)
    parser.add_argument("variants", nargs="*")
    given = parser.parse_args()
    variants = tomllib.loads((HERE / "members.toml").read_text(encoding="utf-8"))
    folder = current_generation(given.index)
    settings = settings_from(read_manifest(folder).settings)
    store, oof = ItemStore.open(folder), read_out_of_fold(folder)
    items = store.items()
    inputs = make_inputs(items, {each.name: store.vectors(each.name) for each in modalities(settings.views)})
    log_price = items["log_price"].to_numpy().astype(np.float64)
    price, results = np.exp(log_price), {}
    for name in given.variants or variants:
        variant = variants[name]
        member = variant.pop("member")
        members = tuple(dict.fromkeys([*settings.members, member]))
        fit = member_fits(change_settings(settings, {member: variant, "members": members}, name))[member]
        started, own = time.monotonic(), np.zeros(len(log_price))
        for f in range(oof.folds):
            there, here = np.flatnonzero(oof.fold != f), np.flatnonzero(oof.fold == f)
            own[here] = fit(inputs.take(there), log_price[there], settings.seed + f, {}).predict(inputs.take(here))
        together = {**{each: oof.own[each] for each in oof.members}, member: own}
        weights = fit_weights(together, price)
        results[name] = {
            "alone": round(smape(price, np.exp(own)), 2),
            "blend": round(smape(price, np.exp(blend(together, weights))), 2),
            "weight": weights[member],
            "seconds_per_fit": round((time.monotonic() - started) / oof.folds, 1),
        }
        print(f"{name:28} {results[name]}", flush=True)
    path = HERE / "results" / "members.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps({**kept, **results}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
