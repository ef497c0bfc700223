"""One TCP connection to the broker: handshake, reading with back-pressure, keep-alive.

Used by `Session` alone, which makes a new one after each loss.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

from ingest.mqtt import codec
from ingest.mqtt.reader import CONNACK, PINGRESP, PUBACK, SUBACK, Control, Message, Reader
from tracking.errors import BrokerError

# Through a real Mosquitto each message arrives in its own segment, and its read costs 18 us of
# system calls and event loop. Letting 3 ms of them gather costs 1-2.5 us a message instead.
REST_S = 0.003
# Resting pays from about this many messages in one rest; below it, latency is worth more.
_REST_WORTH_MESSAGES = 8
_CONNACK_TIMEOUT_S = 10.0
_SUBACK_TIMEOUT_S = 30.0
_CLOSE_TIMEOUT_S = 5.0
_QUICKACK = getattr(socket, "TCP_QUICKACK", None)  # Linux


@dataclass(slots=True)
class Window:
    """Messages handed out and not given back, over all connections of a session."""

    limit: int
    outstanding: int = 0
    open: bool = True

    @property
    def room(self) -> int:
        """How many more may be delivered now; 0 while delivery is paused."""
        return max(0, self.limit - self.outstanding) if self.open else 0


class Connection(asyncio.Protocol):
    """The protocol of one connection; every method runs on its event loop.

    `closed` resolves to the reason once the connection is over. Reading stops while the window
    has no room (the broker then feels TCP back-pressure) and for `REST_S` after each busy read.
    """

    def __init__(
        self,
        *,
        low: int,
        max_payload_bytes: int,
        keepalive_s: int,
        window: Window,
        on_messages: Callable[[list[Message]], None],
        on_puback: Callable[[int], None],
    ) -> None:
        self.reader = Reader(low=low, max_payload_bytes=max_payload_bytes)
        loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[BaseException] = loop.create_future()
        self.opened_s = loop.time()
        self._loop = loop
        self._keepalive_s = keepalive_s
        self._window = window
        self._on_messages = on_messages
        self._on_puback = on_puback
        self._connack: asyncio.Future[bytes] = loop.create_future()
        self._filters: list[str] = []
        self._on_subscribed: Callable[[], None] | None = None
        self._transport: asyncio.Transport | None = None
        self._socket: socket.socket | None = None
        self._rest: asyncio.TimerHandle | None = None
        self._pump_soon: asyncio.Handle | None = None
        self._reading = True
        self._full = False
        self._leaving = False
        self._heard_s = loop.time()
        self._free_since_s = loop.time()

    async def open(self, connect_packet: bytes) -> tuple[int, bool]:
        """Send CONNECT; return CONNACK's code and whether the broker kept the session.

        Raises:
            BrokerError: the connection ended first, or no answer came in time.
        """
        self.write(connect_packet)
        waited: set[asyncio.Future[Any]] = {self._connack, self.closed}
        await asyncio.wait(
            waited,
            timeout=_CONNACK_TIMEOUT_S,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if self._connack.done():
            body = self._connack.result()
            return body[1], bool(body[0] & 1)
        if self.closed.done():
            raise BrokerError(
                f"the connection ended before the broker accepted it ({self.closed.result()}): "
                "is this an MQTT port, and should it be mqtts://?"
            )
        raise BrokerError(
            f"no answer to CONNECT within {_CONNACK_TIMEOUT_S:.0f} s: is this an MQTT port, and "
            "should it be mqtts://?"
        )

    def subscribe(self, filters: list[str], on_subscribed: Callable[[], None]) -> None:
        """Ask for `filters` at QoS 1; a refusal ends the connection with its BrokerError.

        Messages of a kept session may arrive before the answer does.
        """
        self._filters, self._on_subscribed = filters, on_subscribed
        self._free_since_s = self._loop.time()
        self.write(codec.subscribe(1, filters))

    async def serve(self) -> BaseException:
        """Keep the connection alive until it ends; return the reason."""
        while not self.closed.done():
            await asyncio.wait({self.closed}, timeout=self._keepalive_s / 2)
            if not self.closed.done():
                self._tick(self._loop.time())
        return self.closed.result()

    def write(self, data: bytes) -> None:
        """Send `data`; silently nothing once the connection is over."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def acknowledge(self, tickets: Iterable[int]) -> int:
        """Send the PUBACKs of this connection's `tickets` in one write; return how many."""
        packet_ids = self.reader.settle(tickets)
        if packet_ids:
            self.write(codec.pubacks(packet_ids))
        return len(packet_ids)

    def window_changed(self) -> None:
        """Go on reading, or stop, after the window's state changed; cheap to call often."""
        if self._window.room > 0:
            # Not at once: the caller may be inside our own delivery.
            if self._full and self._pump_soon is None:
                self._pump_soon = self._loop.call_soon(self._pump_after_full)
        elif not self._full:
            self._full = True
            self._steer()

    def disconnect(self) -> None:
        """Send DISCONNECT after what is already written, and let the broker close; idempotent.

        What still arrives is read and dropped, unacknowledged: closing a socket that holds unread
        data resets it, and the reset could overtake our last PUBACKs.
        """
        if self._leaving:
            return
        self._leaving = True
        self.write(codec.DISCONNECT)
        self._steer()
        if self._transport is not None:
            self._loop.call_later(_CLOSE_TIMEOUT_S, self._transport.abort)

    def fail(self, reason: BaseException) -> None:
        """End the connection now, giving `reason`."""
        if not self.closed.done():
            self.closed.set_result(reason)
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        # uvloop's transports inherit from none of asyncio's classes.
        self._transport = cast("asyncio.Transport", transport)
        self._socket = transport.get_extra_info("socket")

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        if self._rest is not None:
            self._rest.cancel()
        if not self.closed.done():
            self.closed.set_result(exc or ConnectionResetError("it closed the connection"))

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        if self._leaving:
            return
        now_s = self._loop.time()
        count = self._pump(data)
        # The rate since the last read decides: few messages, far apart, are taken as they come.
        busy = count * REST_S >= _REST_WORTH_MESSAGES * (now_s - self._heard_s)
        self._heard_s = now_s
        if busy and count:
            self._rest = self._rest or self._loop.call_later(REST_S, self._rested)
        else:
            self._acknowledge_segment()
        self._steer()

    def _pump(self, data: bytes) -> int:
        """Deliver what the window allows; return how many messages that was."""
        count = 0
        received_us = time.time_ns() // 1000
        while not self.closed.done():
            try:
                messages, controls = self.reader.feed(data, received_us, self._window.room)
                for control in controls:
                    self._control(control)
                if messages:
                    count += len(messages)
                    self._window.outstanding += len(messages)
                    self._on_messages(messages)
            except Exception as exc:  # noqa: BLE001 -- a fault of the stream or of the owner: `run` tells them apart
                self.fail(exc)
                break
            # The owner may have acknowledged inside the callback, which makes room at once.
            if not self.reader.held or self._window.room == 0:
                break
            data = b""
        self._full = self._window.room == 0
        return count

    def _acknowledge_segment(self) -> None:
        # Brokers leave Nagle on (Mosquitto loses a third of its rate without), so our kernel's
        # delayed ACK would hold up the next message: at 1,000/s 7 ms in the median, 1.3 with this.
        if _QUICKACK is not None and self._socket is not None and not self.closed.done():
            self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    def _pump_after_full(self) -> None:
        self._pump_soon = None
        if self._window.room == 0 or self._leaving:
            return
        # The peer could not be heard while reading stood still: its silence starts now.
        self._heard_s = self._free_since_s = self._loop.time()
        self._pump(b"")
        self._steer()

    def _rested(self) -> None:
        self._rest = None
        self._steer()

    def _steer(self) -> None:
        """Make the transport read exactly when neither the window nor a rest forbids it."""
        wanted = self._leaving or not (self._full or self._rest)
        transport = self._transport
        if wanted == self._reading or transport is None or transport.is_closing():
            return
        self._reading = wanted
        if wanted:
            transport.resume_reading()
        else:
            transport.pause_reading()

    def _control(self, control: Control) -> None:
        kind, body = control
        if kind == PINGRESP:
            return
        if len(body) < 2:
            raise codec.ProtocolError(f"the broker sent a packet of type {kind} without contents")
        if kind == CONNACK:
            if not self._connack.done():
                self._connack.set_result(body)
        elif kind == SUBACK:
            refusal = codec.suback_refusal(self._filters, body[2:])
            if refusal:
                self.fail(BrokerError(refusal))
            elif self._on_subscribed is not None:
                self._on_subscribed()
                self._on_subscribed = None
        elif kind == PUBACK:
            self._on_puback(body[0] << 8 | body[1])

    def _tick(self, now_s: float) -> None:
        self.write(codec.PINGREQ)
        if self._full:
            return
        # A PINGREQ leaves every half keep-alive, so by now three have gone unanswered.
        if now_s - self._heard_s > 1.5 * self._keepalive_s:
            self.fail(BrokerError(f"the broker was silent for {now_s - self._heard_s:.0f} s"))
        elif self._on_subscribed is not None and now_s - self._free_since_s > _SUBACK_TIMEOUT_S:
            self.fail(BrokerError("the broker did not answer the subscription"))
