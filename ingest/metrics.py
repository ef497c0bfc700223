"""What the worker counts, as Prometheus metrics and as one line for people."""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Self

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from ingest.commander import Commander
from ingest.inbox import Inbox
from ingest.mqtt import Message, Session
from ingest.outcome import Committed
from tracking.feed import Publisher

logger = logging.getLogger(__name__)

_LINE_EVERY_S = 60.0


class Metrics:
    """The worker's counters. Entering serves them on `port` (0: nowhere)."""

    def __init__(
        self,
        session: Session,
        inbox: Inbox,
        publisher: Publisher,
        commander: Commander,
        port: int,
    ) -> None:
        self._port = port
        self._session = session
        self.registry = CollectorRegistry()
        registry = self.registry
        self._messages = Counter("waymark_ingest_messages", "Messages settled", registry=registry)
        self._readings = Counter(
            "waymark_ingest_readings", "Readings by fate", ["fate"], registry=registry
        )
        self._events = Counter(
            "waymark_ingest_events", "Event revisions written", registry=registry
        )
        self._repairs = Counter("waymark_ingest_repairs", "Devices folded again", registry=registry)
        self._lag = Histogram(
            "waymark_ingest_lag_seconds",
            "From the receipt of a batch's oldest message to its acknowledgement",
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300),
            registry=registry,
        )
        for name, text, value in (
            ("outstanding", "Messages received and not acknowledged", lambda: session.outstanding),
            ("inbox", "Messages waiting for their transaction", lambda: len(inbox)),
            ("commands", "Commands the broker took", lambda: commander.sent),
            ("reconnects", "Lost MQTT connections", lambda: session.reconnects),
            ("redelivered", "Messages the broker sent again", lambda: session.redelivered),
            (
                "unpublished",
                "Feed messages skipped while Redis was away",
                lambda: publisher.dropped,
            ),
        ):
            Gauge(f"waymark_ingest_{name}", text, registry=registry).set_function(value)

    async def __aenter__(self) -> Self:
        self._server = None
        if self._port:
            self._server, _ = start_http_server(self._port, registry=self.registry)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            await asyncio.to_thread(self._server.shutdown)

    def count(self, committed: Committed, messages: Sequence[Message]) -> None:
        """Count a settled batch."""
        self._messages.inc(len(messages))
        for fate in ("received", "stored", "duplicate", "rejected"):
            self._readings.labels(fate).inc(getattr(committed, fate))
        self._events.inc(len(committed.events))
        oldest_us = min(message.received_us for message in messages)
        self._lag.observe(max(0.0, time.time() - oldest_us / 1e6))

    def repaired(self, events: int) -> None:
        """Count one repaired device and the event revisions that came of it."""
        self._repairs.inc()
        self._events.inc(events)
