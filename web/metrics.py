"""Figures for Prometheus: requests, batches, what waits and what was refused. Never a text of an item."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web.pricing.indexes import ServedIndex

SHARED = "PROMETHEUS_MULTIPROC_DIR"  # where worker processes keep their figures, so that any of them tells all
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The figures of one application."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "price_requests", "Requests answered.", ["route", "method", "status"], registry=registry
        )
        self.seconds = Histogram(
            "price_request_seconds", "Time to an answer.", ["route"], buckets=SECONDS, registry=registry
        )
        self.batch_items = Histogram(
            "price_batch_items", "Items priced together.", buckets=(1, 2, 4, 8, 16, 32, 64, 128), registry=registry
        )
        self.batch_seconds = Histogram("price_batch_seconds", "Time of a batch.", buckets=SECONDS, registry=registry)
        self.waiting = Gauge(
            "price_waiting_items", "Items waiting or at work.", registry=registry, multiprocess_mode="livesum"
        )
        self.refused = Counter("price_refused", "Requests that were turned away.", ["why"], registry=registry)
        self.generation = Gauge(
            "price_index_generation",
            "Number of the generation served.",
            ["index"],
            registry=registry,
            multiprocess_mode="livemin",
        )
        self.stale = Gauge(
            "price_index_stale",
            "1 where a newer generation cannot be opened.",
            ["index"],
            registry=registry,
            multiprocess_mode="livemax",
        )

    def text(self, indexes: Mapping[str, ServedIndex]) -> bytes:
        """Return the figures in Prometheus's text format."""
        for name, served in indexes.items():
            self.generation.labels(name).set(int(served.generation.rpartition("-")[2]))
            self.stale.labels(name).set(bool(served.trouble))
        if SHARED not in os.environ:
            return generate_latest(self.registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


class Measured:
    """Counts and times every request by its route, not by its path: a path may be anything."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on, and count the answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def send_and_see(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_and_see)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            method = scope["method"] if scope["method"] in METHODS else "other"
            self.metrics.requests.labels(route, method, status or 499).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - began)


METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "OPTIONS"})
