"""Generations of an index described in plain values: what one holds and how it was made."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.serving.pricer import Pricer
    from engine.settings.schema import CorrectionParameters


def head(name: str, pricer: Pricer) -> dict[str, Any]:
    """Return what an answer says of the index that it rests on."""
    return {"index": name, "generation": pricer.folder.name, "currency": pricer.manifest.currency}


def describe_generation(name: str, pricer: Pricer) -> dict[str, Any]:
    """Return what a generation of the index `name` holds and how it was made."""
    manifest = pricer.manifest
    return {
        **head(name, pricer),
        "created": manifest.created,
        "rows": len(pricer.reference.log_price),
        "rejected": manifest.rejected,
        "encoders": list(dict.fromkeys(record.name for record in manifest.encoders)),
        "members": list(pricer.settings.members),
        "further": list(manifest.further),
        "settings": plain_settings(pricer.correction),
        "coverage": pricer.settings.coverage,
    }


def plain_settings(correction: CorrectionParameters) -> dict[str, float | None]:
    """Return the parameters of the correction for JSON, which knows no infinity."""
    band = correction.band if math.isfinite(correction.band) else None
    return {"k": correction.k, "band": band, "lambda": correction.decay, "alpha": correction.alpha}
