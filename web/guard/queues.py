"""The queue of items to price: where it is full, requests are turned away before they are read and understood.

So that turning away costs next to nothing of the time in which others are priced.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from web.problems import Problem, as_json

PRICING = frozenset({"/v1/quotes", "/"})


class QueueGuard:
    """Turns requests for prices away while the queue of the application is full."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on."""
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in PRICING:
            problem: Problem | None = scope["app"].state.served.batcher.full()
            if problem is not None:
                await receive()  # a small body is here as a whole, and the connection can be used again
                await as_json(problem)(scope, receive, send)
                return
        await self.app(scope, receive, send)
