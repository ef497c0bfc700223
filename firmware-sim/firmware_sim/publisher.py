"""Publishes a schedule over a bounded number of connections, and stays until the broker has it all.

One thread and one selector drive every connection. The loop owns everything here; a signal handler
may only call `Publisher.request_stop`.
"""

import selectors
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from time import monotonic, time
from typing import Any, Literal

from firmware_sim.connection import Broker, Connection
from firmware_sim.console import Console
from firmware_sim.link import Link, Pace
from firmware_sim.manifest import Ledger
from firmware_sim.plan import Simulation
from firmware_sim.schedule import Schedule

Ending = Literal["complete", "stopped", "gave up"]

# A device out of touch keeps its readings. This bounds what the whole fleet keeps (about 300 MB);
# beyond it the simulated world waits for the broker.
_MOST_HELD = 200_000
# MQTT allows a resend only on a new connection, so silence this long ends the old one.
_ACK_TIMEOUT_S = 20.0
_FAREWELL_S = 3.0
_PROGRESS_S = 0.5
_IDLE_S = 0.1


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is; `refusal` is why the broker does not have us, if so."""

    elapsed_s: float
    simulated_s: float
    published: int
    acked: int
    held: int
    connected: int
    connections: int
    refusal: str | None


class Publisher:
    """One run of one simulation. `run` blocks until the end and returns the summary."""

    def __init__(
        self,
        simulation: Simulation,
        broker: Broker,
        pace: Pace,
        ledger: Ledger,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._options = simulation.options
        self._pace = pace
        self._ledger = ledger
        self._on_progress = on_progress
        self._schedule = Schedule(simulation, ledger)
        count = pace.connections_for(len(simulation.devices))
        run = uuid.uuid4().hex[:8]
        self._links = [
            Link(f"sim-{run}-{k}", simulation.devices[k::count], broker, pace, self._options.tenant)
            for k in range(count)
        ]
        self._console = Console(simulation)
        for link in self._links:
            link.acked = self._ack_for(link)
            link.obey = self._console.obey
        self._selector = selectors.DefaultSelector()
        self._held = 0
        self._stop_requests = 0
        self._is_cut = False
        self._ending: Ending | None = None
        self._last_ack_s = 0.0
        self._started_s = 0.0
        self._lead_ms = 0.0  # of the simulation when the run starts
        # In fast mode a small lead keeps the windows full; more would only be memory.
        self._most_held = _MOST_HELD if pace.speed else 2 * count * pace.window

    def request_stop(self) -> None:
        """Once: make no more readings, deliver what was made. Twice: stop at once."""
        self._stop_requests += 1

    def run(self) -> dict[str, Any]:
        """Publish everything; the summary, also the manifest's last line."""
        self._started_s = self._last_ack_s = monotonic()
        if self._pace.catch_up:
            self._lead_ms = time() * 1000 - self._options.start_ms
        next_tick_s = next_progress_s = self._started_s
        while self._ending is None:
            now_s = monotonic()
            self._turn(now_s)
            if now_s >= next_tick_s:
                next_tick_s = now_s + 1.0
                self._tick(now_s)
            if now_s >= next_progress_s:
                next_progress_s = now_s + _PROGRESS_S
                self._on_progress(self._progress(now_s))
            self._ending = self._is_over(now_s)
        elapsed_s = monotonic() - self._started_s
        self._say_farewell()
        self._selector.close()
        return self._close(elapsed_s)

    def _turn(self, now_s: float) -> None:
        """One round: take what is due, send it, hear what came back."""
        now_ms = self._simulated_ms(now_s)
        if self._stop_requests and not self._is_cut:
            self._is_cut = True
            self._last_ack_s = now_s
            self._schedule.cut(now_ms)
        due_ms = inf if self._is_cut or now_ms >= self._end_ms else now_ms
        count = len(self._links)
        for delivery in self._schedule.take(due_ms, self._most_held - self._held):
            self._links[delivery.device_index % count].outbox.put(delivery)
            self._held += 1
        for link in self._links:
            if link.connection is None:
                self._connect(link, now_s)
            elif link.outbox:
                link.pump(self._ledger, now_s)
                # At once: the next link to connect may be given the number of the closed socket.
                if not link.connection.is_alive:
                    self._drop(link)
        self._exchange(self._wait_s(now_ms))

    @property
    def _end_ms(self) -> float:
        return self._options.duration_s * 1000 or inf

    def _simulated_ms(self, now_s: float) -> float:
        if not self._pace.speed:
            return inf
        return self._lead_ms + (now_s - self._started_s) * 1000 * self._pace.speed

    def _wait_s(self, now_ms: float) -> float:
        if self._held >= self._most_held or now_ms == inf:
            return _IDLE_S
        until_ms = self._schedule.next_ms - now_ms
        return min(_IDLE_S, max(0.0, until_ms / 1000 / self._pace.speed))

    def _exchange(self, timeout_s: float) -> None:
        """Wait up to *timeout_s* for sockets, then read and write those that are ready."""
        for key, events in self._selector.select(timeout_s):
            link: Link = key.data
            if link.connection is None:
                continue
            if events & selectors.EVENT_READ:
                link.connection.read()
            if events & selectors.EVENT_WRITE:
                link.connection.write()
        for link in self._links:
            if link.connection is not None:
                self._settle(link, link.connection)

    def _settle(self, link: Link, connection: Connection) -> None:
        """After I/O: drop a dead connection, watch for writing while bytes wait."""
        if not connection.is_alive:
            self._drop(link)
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.wants_write else 0)
        if self._selector.get_key(link.fd).events != events:
            self._selector.modify(link.fd, events, link)

    def _connect(self, link: Link, now_s: float) -> None:
        if link.connect(now_s):
            self._selector.register(link.fd, selectors.EVENT_READ, link)

    def _drop(self, link: Link) -> None:
        # Before the socket is closed: its number may be the next connection's.
        self._selector.unregister(link.fd)
        link.drop()

    def _tick(self, now_s: float) -> None:
        for link in self._links:
            if link.connection is None:
                continue
            link.connection.tick()
            sent_s = link.outbox.oldest_sent_s()
            if not link.connection.is_alive or (sent_s and now_s - sent_s > _ACK_TIMEOUT_S):
                self._drop(link)

    def _ack_for(self, link: Link) -> Callable[[int], None]:
        def acked(packet_id: int) -> None:
            link.farewells.discard(packet_id)
            delivery = link.outbox.acked(packet_id)
            if delivery is not None:
                self._held -= 1
                self._last_ack_s = monotonic()
                self._ledger.acked(delivery)

        return acked

    def _is_over(self, now_s: float) -> Ending | None:
        if self._stop_requests > 1:
            return "stopped"
        if self._schedule.is_exhausted and not self._held:
            return "stopped" if self._is_cut else "complete"
        # As fast as possible there is no end but the last message; a broker may stay away for long.
        has_ended = bool(self._pace.speed) and self._simulated_ms(now_s) >= self._end_ms
        is_draining = self._is_cut or has_ended or self._schedule.is_exhausted
        if is_draining and now_s - self._last_ack_s > self._pace.drain_s:
            return "stopped" if self._is_cut else "gave up"
        return None

    def _say_farewell(self) -> None:
        """Retained offline for every device, then DISCONNECT, within a few seconds at most."""
        for link in self._links:
            link.farewell()
        deadline_s = monotonic() + _FAREWELL_S
        while any(link.farewells for link in self._links) and monotonic() < deadline_s:
            self._exchange(_IDLE_S)
        for link in self._links:
            if link.connection is not None:
                self._selector.unregister(link.fd)
                link.connection.close(politely=True)

    def _progress(self, now_s: float) -> Progress:
        simulated_s = min(self._simulated_ms(now_s), self._schedule.reached_ms) / 1000
        return Progress(
            now_s - self._started_s,
            simulated_s,
            self._ledger.counts["published"],
            self._ledger.counts["acked"],
            self._held,
            sum(link.is_ready for link in self._links),
            len(self._links),
            next((link.refusal for link in self._links if link.refusal), None),
        )

    def _close(self, elapsed_s: float) -> dict[str, Any]:
        acked = self._ledger.counts["acked"]
        return self._ledger.close(
            ending=self._ending,
            elapsed_s=round(elapsed_s, 3),
            acked_per_s=round(acked / elapsed_s, 1) if elapsed_s else 0.0,
            connections=len(self._links),
            connects=sum(link.connects for link in self._links),
            resent=sum(link.resent for link in self._links),
            commands=self._console.obeyed,
            options=self._options.describe(),
        )
