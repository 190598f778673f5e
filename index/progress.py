"""How long work says how far it is: a callback, so that only the command line speaks."""

from collections.abc import Callable

OnProgress = Callable[[str, int, int | None], None]
"""`report(stage, done, total)`: `total` is None where it is not known. Called often; must be cheap."""


def silent(stage: str, done: int, total: int | None) -> None:
    """Report nothing."""
