"""The command line `price` as a process: its exit codes, its one line for every error, and how it ends.

Results go to stdout, everything else to stderr. The commands themselves stand in `commands`.

Importing this file imports next to nothing: an interrupt must find its handler in place as early as can be.
"""

from __future__ import annotations

import _thread
import os
import select
import signal
import sys
import time

TYPE_CHECKING = False  # importing typing takes milliseconds in which nobody watches
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

FAULT, USAGE, INTERRUPTED, READER_LEFT = 1, 2, 130, 141  # the last two as shells make them of SIGINT and SIGPIPE
INTERRUPT = b"price: Interrupted; what was finished is kept.\n"

FOR_LIBRARIES = {  # that they read before they start threads, unless the user has set them
    # Threads that spin while they wait slow each other down, with OpenMP a hundredfold on a busy machine.
    "OMP_WAIT_POLICY": "PASSIVE",
    "OPENBLAS_THREAD_TIMEOUT": "4",  # spin for 2^4 cycles and not, as it does, for 2^28
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",  # one for every length of text fills 300 MB
}

_first_to_tell = _thread.allocate_lock()


def main() -> NoReturn:
    """Run the command line and exit with the contract's code."""
    interrupted: Callable[[], bool] = bool  # false, until interrupts are watched
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored, and stays so
        signal.signal(signal.SIGINT, lambda *_: end_interrupted())  # imports swallow interrupts, Python's own too
    try:
        _fill_gaps()
        from commands import interrupts

        interrupts.watch(end_interrupted)
        interrupted = interrupts.came
        from commands import streams

        streams.prepare()
        for name, value in FOR_LIBRARIES.items():
            os.environ.setdefault(name, value)
        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        end_interrupted()
    except BaseException:
        if interrupted():
            end_interrupted()
        raise
    if interrupted() or code == INTERRUPTED:  # the first also where a library swallowed it
        end_interrupted()
    os._exit(code)  # at once: threads of libraries would keep the user waiting, and an interrupt show where


def _fill_gaps() -> None:
    """Open the null device for standard streams that are closed.

    Or the next file that is opened gets the number, and with it what libraries print there.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def end_interrupted() -> NoReturn:
    """End the process, whatever runs in it, with the line and the code of an interrupt. For any thread."""
    try:
        if not _first_to_tell.acquire(blocking=False):
            time.sleep(0.1)  # while whoever was first writes
        elif select.select([], [2], [], 0)[1]:  # else it would be waited for whoever does not read it
            os.write(2, b"\r\x1b[K" * os.isatty(2) + INTERRUPT)
    finally:
        os._exit(INTERRUPTED)


def run(arguments: list[str]) -> int:
    """Run `price ARGUMENTS` and return the exit code.

    Every error is one line on stderr, but for an interrupt, whose line is `main`'s, and a reader of stdout who left.
    """
    import click

    from commands import interrupts, streams
    from commands.price import answer
    from index.errors import PriceError
    from index.shortage import shortage

    try:
        streams.require_output()
        code = answer(arguments)
        sys.stdout.flush()
        return code
    except click.exceptions.NoArgsIsHelpError as error:
        for line in error.format_message().splitlines():
            streams.tell(line)
        return USAGE
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "price"
        code, message = USAGE, f"{' '.join(error.format_message().split())} See `{command} --help`."
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except PriceError as error:
        code, message = FAULT if shortage(error) else error.exit_code, str(error)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and streams.reader_left():
            return READER_LEFT
        code, message = FAULT, shortage(error) or f"The system refused: {error}. Mend that and try again."
    except BaseException as error:  # a library's own, such as Rust's panics
        if (why := shortage(error)) is None:
            raise
        code, message = FAULT, why
    if interrupts.came():  # and the error is what a library made of it
        return INTERRUPTED
    streams.tell(f"price: {message}")
    return code
