"""What the api counts of itself."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """One process's numbers, in a registry of their own so that several can live in one test."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "waymark_api_requests",
            "Requests answered, by route pattern, method and status",
            ["route", "method", "status"],
            registry=self.registry,
        )
        self.latency_seconds = Histogram(
            "waymark_api_request_seconds",
            "Time from the first byte of a request to the last of its answer, by route pattern",
            ["route"],
            registry=self.registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
        )
        self.clients = Gauge("waymark_api_feed_clients", "Open websockets", registry=self.registry)
        self.frames = Counter(
            "waymark_api_feed_frames", "Messages sent to websockets", registry=self.registry
        )
        self.events = Counter(
            "waymark_api_feed_events",
            "Events handed to websockets, by how they came (redis, database)",
            ["source"],
            registry=self.registry,
        )
        self.closed_slow = Counter(
            "waymark_api_feed_closed_slow",
            "Websockets closed with 1013 because they left too much unread",
            registry=self.registry,
        )
        self.malformed = Counter(
            "waymark_api_feed_malformed", "Redis messages not understood", registry=self.registry
        )
        self.redis_up = Gauge(
            "waymark_api_feed_redis_up",
            "1 while live updates come through Redis, 0 while the database is polled",
            registry=self.registry,
        )
