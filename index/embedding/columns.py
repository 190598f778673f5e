"""Columns of vectors: which views of an item go through which encoders, the same for a build and for a query.

A modality is one view of an item (its name, its bullet points, its whole text, its photograph) through one encoder,
and has a column of its own in an index.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from index.encoders.registry import find_spec
from index.errors import UsageError

TEXT_VIEWS = ("name", "bullets", "text", "details")
PHOTOGRAPH, PAIR = "photograph", "pair"
VECTOR_PREFIX = "vector_"


@dataclass(frozen=True, kw_only=True)
class Views:
    """Views of an item that are encoded, and the encoders of each: NAME or NAME@PATH."""

    text_encoders: tuple[str, ...]
    image_encoders: tuple[str, ...]
    text_views: tuple[str, ...]  # of TEXT_VIEWS: parts of an item that each text encoder encodes, a vector for each
    cleaning: tuple[str, ...] = ()  # of what text encoders read: see `index.catalogue.cleaning`


@dataclass(frozen=True)
class Modality:
    """One column of vectors."""

    name: str  # of the column and of the models' input: `minilm_name`
    encoder: str  # NAME or NAME@PATH
    view: str  # name, bullets, text, details, photograph, or pair: text and photograph together
    cleaning: tuple[str, ...] = ()  # of the text, before it is encoded


@dataclass(frozen=True)
class EncoderRecord:
    """One vector column of an index, and what must encode a query for it."""

    column: str
    name: str
    identity: str
    dim: int
    finetuned_rows: int | None = 0
    """Number of the generation's rows that the encoder was fine-tuned on; None where that is not known."""


def vector_column(name: str) -> str:
    """Return the column of vectors by name: those of `qwen3-0.6b` are `vector_qwen3_0_6b`, for Lance allows no dot."""
    return VECTOR_PREFIX + "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name)


def modalities(views: Views) -> list[Modality]:
    """List the columns of a build. UsageError for an encoder that cannot read what it is named for."""
    texts = [(encoder, view) for encoder in views.text_encoders for view in _views(encoder, "text", views.text_views)]
    images = [(encoder, view) for encoder in views.image_encoders for view in _views(encoder, "image", (PHOTOGRAPH,))]
    columns = [_modality(encoder, view, views.cleaning) for encoder, view in texts + images]
    if len({column.name for column in columns}) < len(columns):
        names = ", ".join(dict.fromkeys(column.encoder for column in columns))
        raise UsageError(f"An encoder is named twice among {names}: an index holds one version of each.")
    return columns


def space_columns(views: Views, space: tuple[str, ...]) -> list[str]:
    """List the columns whose cosines the correction's search averages: those views of the first text encoder."""
    first = views.text_encoders[0]
    return [
        _modality(first, view).name for view in _views(first, "text", views.text_views) if view in space or view == PAIR
    ]


def _views(encoder: str, kind: Literal["text", "image"], views: tuple[str, ...]) -> tuple[str, ...]:
    """Views that an encoder has a column for where it is named for words ("text") or photographs ("image")."""
    spec = find_spec(encoder)
    if spec.family == "none":
        return ()
    if kind in spec.modalities:
        return views
    if "pair" in spec.modalities:
        return (PAIR,)
    what = {"text": "words", "image": "photographs"}
    raise UsageError(f"{spec.name} does not encode {what[kind]}; `price encoders` lists which encoder reads what.")


def _modality(encoder: str, view: str, cleaning: tuple[str, ...] = ()) -> Modality:
    """Name a column: `qwen3-0.6b@weights/` and name -> `qwen3_0_6b_name`; columns and torch's modules allow no dot."""
    name = re.sub(r"[^a-z0-9]", "_", encoder.partition("@")[0].lower())
    return Modality(f"{name}_{view}", encoder, view, cleaning)
