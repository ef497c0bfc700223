"""What the monitor counts, as Prometheus metrics."""

from prometheus_client import CollectorRegistry, Counter, start_http_server


class MonitorMetrics:
    """The monitor's counters; `serve` shows them on a port."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.looks = Counter("waymark_monitor_looks", "Shipments forecast", registry=registry)
        self._failures = Counter(
            "waymark_monitor_failures", "Shipments put off by an error", ["task"],
            registry=registry,
        )  # fmt: skip

    def failed(self, task: str, n: int) -> None:
        """Note shipments that could not be derived or forecast."""
        self._failures.labels(task).inc(n)

    def serve(self, port: int) -> None:
        """Show them on `port`; 0: nowhere."""
        if port:
            start_http_server(port, registry=self.registry)
