"""Commands about encoders: finetune and encoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import render
from commands.options import (
    PATH,
    image_dir_option,
    json_option,
    print_json,
    runtime_options,
)
from commands.reading import read_settings_of, reading_options


@click.command("finetune", short_help="Teach an encoder what things cost.")
@click.argument("catalogue", type=PATH)
@click.option("-o", "--output", "target", type=PATH, required=True, help="Folder of the new encoder.")
@image_dir_option
@click.option("--config", type=PATH, help="Settings file (price.toml), its [finetuned]; options here win over it.")
@click.option("--text-encoder", "encoder", help="Encoder of words to start from. [default: minilm]")
@click.option("--image-encoder", help="Encoder of photographs to train beside it. [default: none]")
@click.option("--train", type=click.Choice(["whole", "last", "lora"]), help="What learns. [default: last]")
@click.option("--layers", type=int, help="How many layers, of --train last. [default: 2]")
@click.option("--epochs", type=int, help="Times that every row is learned from. [default: 5]")
@click.option("--batch-size", type=int, help="Rows that a step learns from. [default: 32]")
@click.option("--accumulate", type=int, help="Parts of a batch, one at a time, to save memory. [default: 1]")
@click.option("--recompute", is_flag=True, default=None, help="Compute activations twice, to save memory.")
@click.option("--learning-rate", type=float, help="Of the encoder's last layer. [default: 0.0001]")
@click.option("--seed", type=int, help="Of everything random. [default: 0]")
@click.option("--overwrite", is_flag=True, help="Replace a finished encoder, or drop an unfinished one.")
@runtime_options
@reading_options
@json_option
def finetune_command(catalogue: Path, target: Path, *, as_json: bool, **options: Any) -> None:
    """Teach an encoder, on a priced CATALOGUE, what things cost, and write it to a folder as NAME@FOLDER.

    A run that was stopped is continued by the same command. An index that is built with the encoder on the same rows
    scores too well, and says so; the member finetuned of the blend fine-tunes inside the folds instead.

    \b
    price finetune catalogue.csv -o finetuned
    price build-index other.csv --text-encoder minilm@finetuned
    """
    from index.shortage import require_memory

    require_memory(training=True)
    from engine.finetune.run import FinetuneOptions, finetune
    from engine.settings.read import read_settings

    how = {name: options.pop(name) for name in ("image_dir", "device", "precision", "overwrite")}
    how["reading"] = read_settings_of(options)
    config, seed = options.pop("config"), options.pop("seed")
    given = {name: value for name, value in options.items() if value is not None}
    settings = read_settings(config, seed=seed, finetuned=given or None)
    with render.Progress() as progress:
        done = finetune(
            catalogue, target, settings.finetuned, FinetuneOptions(seed=settings.seed, **how), progress.update
        )
    if as_json:
        print_json(done.to_json())
        return
    render.show_finetuned(done)


@click.command("encoders", short_help="List the encoders, and which are on this machine.")
@json_option
def encoders_command(as_json: bool) -> None:
    """List the encoders that --text-encoder and --image-encoder take, and which are on this machine.

    NAME@PATH takes an encoder's weights from a folder, or from a safetensors file for encoders that need no more.

    \b
    price encoders --json
    price build-index catalogue.csv --text-encoder minilm,qwen3-0.6b@weights/qwen
    """
    from dataclasses import asdict

    from index.encoders import ENCODERS
    from index.encoders.hub import is_here

    here = {name: spec.family != "none" and is_here(name) for name, spec in ENCODERS.items()}
    if as_json:
        print_json({"encoders": [{**asdict(spec), "here": here[name]} for name, spec in ENCODERS.items()]})
        return
    render.show_encoders(render.open_console(), ENCODERS.values(), here)
