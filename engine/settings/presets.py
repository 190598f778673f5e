"""Settings with names: the default, and those of four published systems, as data.

Where a system's write-up says nothing (a width, a dropout, a number of epochs), the value here is ours. All four learn
log price, where theirs is log1p (`engine.networks.losses`), and none has our other members or the stacker: what
`price evaluate` says of their stage "blend" is the system as published, and of the stage after it, what the correction
adds.
"""

from __future__ import annotations

from engine.settings.schema import (
    Blend,
    Correction,
    DeepTrees,
    Fit,
    Gbdt,
    NetworkSettings,
    Settings,
    StackerSettings,
)

NO_STACKER = StackerSettings(rounds=0)

CLIP_FUSION = Settings(
    text_encoder=("clip-vit-l-14",),
    image_encoder=("clip-vit-l-14",),
    text_views=("text",),
    members=("mlp",),
    mlp=NetworkSettings(
        "fusion", members=1, width=512, dropout=0.2, fit=Fit(10, 64, 64, 1e-3, 1e-5, "one_cycle", "mse")
    ),
    blend=Blend(mlp=1.0),
    stacker=NO_STACKER,
    folds=5,
    correction=Correction(("text",)),
)
"""CLIP's vectors of text and photograph, each projected into one latent space, side by side; squared error."""

GATED_ENSEMBLE = Settings(
    text_encoder=("qwen3-0.6b",),
    image_encoder=("marqo-b",),
    text_views=("name", "bullets"),
    outliers=0.01,
    members=("mlp", "gbdt", "xgboost", "catboost"),
    mlp=NetworkSettings(
        "gated", members=1, width=256, dropout=0.2, fit=Fit(15, 64, 64, 1e-3, 1e-5, "one_cycle", "mse")
    ),
    gbdt=Gbdt(reads=("fused",)),
    xgboost=DeepTrees(reads=("fused",)),
    catboost=DeepTrees(reads=("fused",)),
    blend=Blend(mlp=0.85, gbdt=0.05, xgboost=0.05, catboost=0.05),
    stacker=NO_STACKER,
    folds=5,
    correction=Correction(("name", "bullets")),
)
"""A gate over the modalities, and three kinds of trees on what it makes of them (46.81 in the challenge). Its text
encoder was fine-tuned on (name, price) pairs first, which `price finetune` does."""

TOWERS_KNN = Settings(
    text_encoder=("qwen3-4b", "qwen3-vl-2b"),
    image_encoder=("marqo-l",),
    text_views=("details",),
    cleaning=("emoji",),
    members=("mlp",),
    mlp=NetworkSettings(
        "towers", members=1, width=512, dropout=0.3, fit=Fit(15, 64, 64, 1e-3, 1e-5, "one_cycle", "mse")
    ),
    blend=Blend(mlp=1.0),
    stacker=NO_STACKER,
    folds=5,
    correction=Correction(("details",)),
)
"""A tower for each of text, photograph, both at once, and unit and numbers; five folds averaged. Its future work, the
neighbours' residuals, is our correction."""

END_TO_END = Settings(
    text_encoder=("minilm",),
    image_encoder=("efficientnet-b0",),
    text_views=("text",),
    members=("mlp",),
    mlp=NetworkSettings(
        "mlp",
        members=1,
        width=256,
        dropout=0.25,
        fit=Fit(20, 64, 64, 1e-3, 0.01, "cosine_restarts", "smooth_l1", 0.5, "smape", second_share=0.5, cycle=5),
    ),
    blend=Blend(mlp=1.0),
    stacker=NO_STACKER,
    folds=5,
    correction=Correction(("text",)),
)
"""MiniLM and EfficientNet-B0 into layers of 512, 256 and 64; SmoothL1, then SMAPE itself. Here with frozen encoders and
so a larger learning rate; its training of all layers is `price finetune`. (Its 20.68 is half of SMAPE as we count.)"""

PRESETS: dict[str, Settings] = {
    "default": Settings(),
    "clip-fusion": CLIP_FUSION,
    "gated-ensemble": GATED_ENSEMBLE,
    "towers-knn": TOWERS_KNN,
    "end-to-end": END_TO_END,
}


def replaced_encoders(preset: str, settings: Settings) -> list[str]:
    """A sentence for each kind of encoder that `settings` names in the place of a published system's own."""
    if preset == "default":
        return []
    sentences = []
    for kind in ("text_encoder", "image_encoder"):
        own, given = _names(getattr(PRESETS[preset], kind)), _names(getattr(settings, kind))
        if own != given:
            sentences.append(f"{preset} runs with {given} in the place of its {kind.replace('_', ' ')} {own}.")
    return sentences


def without_its_encoder(preset: str) -> str:
    """Advice where a published system's encoder cannot be had; empty for the default."""
    if preset == "default":
        return ""
    return f" Or run {preset} with encoders that are here, such as --text-encoder minilm --image-encoder pixels."


def _names(encoders: tuple[str, ...]) -> str:
    """The encoders' names without the paths of their weights: an encoder brought by hand is no other encoder."""
    return ", ".join(encoder.partition("@")[0] for encoder in encoders) or "none"
