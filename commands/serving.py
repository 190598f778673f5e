"""The command that serves prices to browsers and programs: serve."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from commands.libraries import prepare
from commands.options import image_dir_option, runtime, runtime_options
from commands.streams import show, tell


@click.command("serve", short_help="Serve prices: a page and an API.")
@click.option(
    "--index",
    "indexes",
    multiple=True,
    type=click.Path(),  # whose variable's parts stand between colons, not blanks
    default=("price-index",),
    envvar="PRICE_INDEX",
    show_envvar=True,
    metavar="[NAME=]DIR",
    help="Folder of an index; may be repeated, and the first is the one that is meant where none is named.",
)
@click.option("--host", default="127.0.0.1", help="Address to listen at; others than this machine's own need a token.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, help="Port to listen at; 0 takes a free one.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, help="Processes, each with every index open.")
@click.option("--name", "hosts", multiple=True, help="Name by which browsers call this server; may be repeated.")
@click.option("--open", "to_all", is_flag=True, help="Let everyone in who reaches the port: no token is needed.")
@click.option("--allow-fetch", is_flag=True, help="Fetch photographs whose address a request names.")
@image_dir_option
@runtime_options
@click.option("--log-items", is_flag=True, help="Texts of items, and words of errors, may stand in the log.")
@click.option("--timeout", type=click.FloatRange(0.1, 3600), default=30.0, help="Seconds that an answer may take.")
@click.option(
    "--most-waiting", type=click.IntRange(1, 100_000), default=256, help="Items that wait; beyond it the answer is 429."
)
def serve_command(
    indexes: tuple[str, ...], host: str, port: int, *, workers: int, image_dir: Path | None, **options: Any
) -> None:
    """Serve prices on http://HOST:PORT/: a page for people, and an API for programs (see /docs there).

    Requests that arrive together are priced together. A new generation of an index is followed within seconds, and no
    request is dropped. Where others than this machine can reach HOST, requests must bring the secret in PRICE_TOKEN
    unless --open is given. Needs price-engine[serve].

    \b
    price serve --index price-index
    price serve --index food=food-index --index toys=toy-index --port 9000
    """
    require_libraries()
    prepare()
    from web.serve import serve
    from web.settings import TOKEN, Limits, ServeSettings, named_indexes, required_token

    encoders = runtime(options)
    settings = ServeSettings(
        indexes=named_indexes(indexes),
        host=host,
        port=port,
        hosts=options["hosts"],
        token=required_token(host, os.environ.get(TOKEN), to_all=options["to_all"]),
        allow_fetch=options["allow_fetch"],
        image_dir=str(image_dir.absolute()) if image_dir else None,
        log_items=options["log_items"],
        device=encoders.device,
        precision=encoders.precision,
        limits=Limits(seconds=options["timeout"], waiting_items=options["most_waiting"]),
    )

    def ready(address: str) -> None:
        show(f"Serving {', '.join(name for name, _ in settings.indexes)} at {address}")
        tell("price: Ctrl-C ends it.")

    serve(settings, workers, ready)


def require_libraries() -> None:
    """Raise UsageError where the libraries of the server are not installed."""
    from index.errors import UsageError

    try:
        import fastapi  # noqa: F401
        import jinja2  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UsageError(f"price serve needs {error.name}: pip install 'price-engine[serve]'.") from error
