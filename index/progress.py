"""Callback by which long work reports its progress, so that only the command line prints."""

from collections.abc import Callable

OnProgress = Callable[[str, int, int | None], None]
"""`on_progress(stage, done, total)`: `total` is None where it is not known. Called often; must be cheap."""


def silent(stage: str, done: int, total: int | None) -> None:
    """Report nothing."""
