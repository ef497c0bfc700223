"""Some devices behind one connection that is made anew each time it drops, and how hard to try."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from firmware_sim.connection import Broker, Connection
from firmware_sim.device import Backoff, Outbox
from firmware_sim.manifest import Ledger
from firmware_sim.noise import Noise
from firmware_sim.options import OptionError
from firmware_sim.scene import DeviceName

if TYPE_CHECKING:
    from collections.abc import Callable

# Up to here each device has a connection, and so a last will, of its own.
OWN_CONNECTIONS = 50
POOLED_CONNECTIONS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast, and over what, the plan is carried out; nothing here changes what is said."""

    speed: float = 1.0  # simulated seconds per second; 0 is as fast as the broker acknowledges
    catch_up: bool = False  # what lies in the past at once, the rest when it is time
    connections: int = 0  # 0: one per device up to OWN_CONNECTIONS, then POOLED_CONNECTIONS
    window: int = 100  # unacknowledged messages per connection
    drain_s: float = 60.0  # after the end, how long without an acknowledgement before giving up
    status: bool = True  # retained online and offline, and the last will
    commands: bool = True  # subscribe to `cmd`, obey, answer on `ack`

    def __post_init__(self) -> None:
        if not 0 <= self.speed <= 1e6:
            raise OptionError(f"speed: {self.speed} is not within 0 to 1000000")
        if self.catch_up and self.speed != 1:
            raise OptionError("catch-up: it is for the speed 1 only")
        if not 0 <= self.connections <= 1000:
            raise OptionError(f"connections: {self.connections} is not within 0 to 1000")
        if not 1 <= self.window <= 10_000:
            raise OptionError(f"window: {self.window} is not within 1 to 10000")
        if not 0 <= self.drain_s <= 86_400:
            raise OptionError(f"drain: {self.drain_s} is not within 0 to 86400")

    def connections_for(self, devices: int) -> int:
        """How many connections a fleet of *devices* gets."""
        if self.connections:
            return min(self.connections, devices)
        return devices if devices <= OWN_CONNECTIONS else POOLED_CONNECTIONS


class Link:
    """Some devices, their outbox and the connection they share, made anew each time it drops."""

    def __init__(
        self, name: str, devices: list[DeviceName], broker: Broker, pace: Pace, tenant: str
    ) -> None:
        self.outbox = Outbox(pace.window)
        self.connection: Connection | None = None
        self.connects = 0
        self.resent = 0
        self.acked: Callable[[int], None] = lambda _: None
        self.fd = -1
        self.refusal: str | None = None
        self.farewells: set[int] = set()
        self.obey: Callable[[str, bytes], bytes | None] = lambda *_: None
        self._name = name
        self._broker = broker
        self._status_topics = (
            [f"wm/{tenant}/{device.name}/status" for device in devices] if pace.status else []
        )
        self._command_topics = (
            [f"wm/{tenant}/{device.name}/cmd" for device in devices] if pace.commands else []
        )
        self._backoff = Backoff()
        self._noise = Noise(0, name)
        self._attempts = 0
        self._retry_s = 0.0

    @property
    def is_ready(self) -> bool:
        """Whether messages can be sent."""
        return self.connection is not None and self.connection.is_ready

    def connect(self, now_s: float) -> bool:
        """Try to connect if it is time; whether there is a new socket to watch."""
        if self.connection is not None or now_s < self._retry_s:
            return False
        self._attempts += 1
        self._retry_s = now_s + self._backoff.next_s(self._noise.unit(self._attempts))
        # A connection has one will: a device that shares one is only seen off by `farewell`.
        will = self._status_topics[0] if len(self._status_topics) == 1 else None
        connection = Connection(
            self._broker,
            self._name,
            will_topic=will,
            on_ready=self._ready,
            on_ack=self.acked,
            on_message=self._commanded,
        )
        self.refusal = connection.refusal
        if not connection.is_alive:
            return False
        self.connection = connection
        self.fd = connection.fileno()
        return True

    def drop(self) -> None:
        """Give the connection up and keep what it had not acknowledged."""
        if self.connection is not None:
            self.refusal = self.connection.refusal or "connection lost"
            self.connection.close(politely=False)
        self.connection = None
        self.fd = -1
        self.farewells.clear()
        self.resent += self.outbox.disconnected()

    def pump(self, ledger: Ledger, now_s: float) -> None:
        """Send what the window allows."""
        connection = self.connection
        if connection is None or not connection.is_ready:
            return
        sent = False
        for delivery in self.outbox.sendable():
            packet_id = connection.publish(delivery.topic, delivery.reading.payload)
            self.outbox.sent(delivery, packet_id, now_s)
            ledger.sent(delivery)
            sent = True
        if sent:
            connection.write()

    def farewell(self) -> None:
        """Say that each device goes offline."""
        if self.connection is not None and self.connection.is_ready:
            for topic in self._status_topics:
                self.farewells.add(self.connection.publish(topic, b'{"online":false}', retain=True))
            self.connection.write()

    def _ready(self) -> None:
        self.connects += 1
        self.refusal = None
        self._backoff.reset()
        if self.connection is not None:
            # Before it says that it is there: then commands may come.
            if self._command_topics:
                self.connection.subscribe(self._command_topics)
            for topic in self._status_topics:
                self.connection.publish(topic, b'{"online":true}', retain=True)

    def _commanded(self, topic: str, payload: bytes) -> None:
        answer = self.obey(topic.split("/")[2], payload)
        if answer is not None and self.connection is not None:
            # Not kept: unanswered, it is told again with the next connection.
            self.connection.publish(topic.removesuffix("cmd") + "ack", answer)
