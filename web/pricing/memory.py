"""Memory that was freed, given back to the system from time to time.

glibc keeps freed memory for later, in pieces between what is still in use; of a server that runs for weeks these become
many. Giving them back takes some milliseconds.
"""

from __future__ import annotations

import asyncio
import ctypes

EVERY = 30.0  # seconds


def give_back() -> bool:
    """Give freed memory back to the system; False where the C library cannot, as none but glibc can."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return False
    trim(0)
    return True


async def give_back_now_and_then() -> None:
    """Give freed memory back as long as a server runs."""
    while await asyncio.to_thread(give_back):
        await asyncio.sleep(EVERY)
