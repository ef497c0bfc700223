"""What the deliverer counts, as Prometheus metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from deliver.line import Outcome


class Metrics:
    """The deliverer's counters; `serve` shows them on a port."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._tries = Counter(
            "waymark_deliver_tries", "Letters sent", ["kind", "result"], registry=registry
        )
        self._latency = Histogram(
            "waymark_deliver_latency_seconds",
            "How long targets took to answer",
            ["kind"],
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15),
            registry=registry,
        )
        self.targets = Gauge("waymark_deliver_targets", "Targets held", registry=registry)
        self.in_flight = Gauge("waymark_deliver_in_flight", "Letters under way", registry=registry)

    def count(self, kind: str, outcome: Outcome) -> None:
        """Note one try."""
        self._tries.labels(kind, "ok" if outcome.ok else "failed").inc()
        self._latency.labels(kind).observe(outcome.latency_ms / 1e3)

    def serve(self, port: int) -> None:
        """Show them on `port`; 0: nowhere."""
        if port:
            start_http_server(port, registry=self._registry)
