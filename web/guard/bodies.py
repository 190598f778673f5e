"""Bodies of requests: counted as they arrive, however they are sent, and given a time; and requests at a time.

A declared length is believed only where it is too large. What arrives in chunks is counted like the rest, so that
nothing is held that was not allowed. Requests whose body is still on its way take no place of those at work.
"""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web.guard.hosts import SAFE
from web.problems import Problem, as_json
from web.settings import Limits

FILE_SECONDS = 10  # times as long as another body, a file may take
FILES = ("/v1/files", "/files")  # where a whole file is uploaded, to the disk


class BodyGuard:
    """Counts bytes of a body, and of all bodies that arrive at a time; refuses what is too much or too slow."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self.app, self.limits = app, limits
        self._arriving = 0  # bytes, of all requests
        self._working = 0  # requests whose body is here

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on with a body that is counted."""
        if scope["type"] != "http" or scope["path"] == "/healthz":
            await self.app(scope, receive, send)
            return
        body = _Body(self, receive, *self._most(scope))
        try:
            if scope["method"] in SAFE:  # their body is not looked at
                body.end()
            declared = Headers(scope=scope).get("content-length", "0")
            if declared.isdecimal() and int(declared[:15]) > body.most:
                raise too_large(body.most)
            if self._working - body.whole >= self.limits.concurrent:
                detail = "The server is at work on as many requests as it takes: try again in 1 s."
                raise Problem(429, detail, headers={"Retry-After": "1"})
            await self.app(scope, body.receive, body.sender(send))
        except Problem as problem:  # only from here: what the application raises is answered within it
            await as_json(problem)(scope, receive, body.sender(send))
        finally:
            self._arriving -= body.counted
            self._working -= body.whole

    def _most(self, scope: Scope) -> tuple[int, float]:
        """Return the bytes and seconds that a body may take."""
        if scope["path"] in FILES and scope["method"] == "POST":
            return self.limits.file_bytes, FILE_SECONDS * self.limits.seconds
        return self.limits.body_bytes, self.limits.seconds

    def take(self, count: int) -> None:
        """Count bytes that arrived; Problem where they are too many for all requests together."""
        if self._arriving + count > self.limits.arriving_bytes:
            detail = "More is arriving than the server takes at a time: try again in 5 s."
            raise Problem(429, detail, headers={"Retry-After": "5"})
        self._arriving += count

    def begin(self) -> None:
        """Count a request whose body is here."""
        self._working += 1


class _Body:
    """A body on its way."""

    def __init__(self, guard: BodyGuard, receive: Receive, most: int, seconds: float) -> None:
        self._guard, self._receive, self.most = guard, receive, most
        self._ends = asyncio.get_running_loop().time() + seconds
        self.bytes = self.counted = 0
        self.whole = False

    async def receive(self) -> Message:
        """Receive the next part. Raises Problem, which the framework lets through, for too much or too late."""
        if self.whole:
            return await self._receive()  # until the client leaves
        try:
            async with asyncio.timeout_at(self._ends):
                message = await self._receive()
        except TimeoutError:
            raise Problem(408, "The request took too long to arrive: send it again.") from None
        count = len(message.get("body", b""))
        self.bytes += count
        if self.bytes > self.most:
            raise too_large(self.most)
        self._guard.take(count)
        self.counted += count
        if not message.get("more_body", False):
            self.end()
        return message

    def sender(self, send: Send) -> Send:
        """Return what sends the answer, and hangs up where it comes before the whole body, whose rest nobody reads."""

        async def send_and_close(message: Message) -> None:
            if message["type"] == "http.response.start" and not self.whole:
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        return send_and_close

    def end(self) -> None:
        """Take a place at work: all that was waited for is here."""
        self.whole = True
        self._guard.begin()


def too_large(most: int) -> Problem:
    """Return the refusal of a body that is too large; the rest of it is not waited for."""
    return Problem(413, f"The request is larger than {most:,} bytes: send less at a time.")
