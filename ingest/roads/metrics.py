"""What is counted of questions about roads, as Prometheus metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class RoadMetrics:
    """The counters, in a registry of theirs or the process's."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self.registry = registry
        self.known = Counter(
            "waymark_roads_known",
            "Ways looked for among those kept: on one, off it, or none kept",
            ["result"],
            registry=registry,
        )
        self.asked = Counter(
            "waymark_roads_asked",
            "Questions to the provider: found, none (there is no way), failed",
            ["result"],
            registry=registry,
        )
        self.waiting = Gauge(
            "waymark_roads_waiting", "Questions that wait for their turn", registry=registry
        )
        self.open = Gauge(
            "waymark_roads_open", "1 while the provider counts as away", registry=registry
        )
