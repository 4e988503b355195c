"""What Prometheus is told of a server, in a registry of its own."""

from collections.abc import Callable
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 32)
OTHER = "other"  # a path that there isn't, of which there are endlessly many


class Metrics:
    """Requests by path and status, their times, the sizes of batches, pictures cut off, and requests under way."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "blip_requests", "requests that were answered", ["path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "blip_request_seconds", "from headers to answer", ["path"], buckets=SECONDS, registry=self.registry
        )
        self.batches = Histogram(
            "blip_batch_pictures", "pictures captioned at once", buckets=SIZES, registry=self.registry
        )
        self.cut_off = Counter(
            "blip_pictures_cut_off", "pictures captioned without all of them", registry=self.registry
        )
        self.under_way = Gauge("blip_requests_under_way", "requests that have a place", registry=self.registry)

    def text(self) -> bytes:
        """All of it, in Prometheus's text format."""
        return generate_latest(self.registry)


class Measured:
    """Counts and times what an application answers. `label` makes of a path one of a few names."""

    def __init__(self, app: ASGIApp, metrics: Metrics, label: Callable[[str], str]) -> None:
        self.app, self.metrics, self.label = app, metrics, label

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the application's start and end."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status, path = perf_counter(), "500", self.label(scope["path"])

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            self.metrics.requests.labels(path, status).inc()
            self.metrics.seconds.labels(path).observe(perf_counter() - started)
