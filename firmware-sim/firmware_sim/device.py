"""Store and forward: what a device keeps until the broker has acknowledged it. Pure, no clock."""

from collections import deque
from collections.abc import Iterator

from firmware_sim.readings import Delivery


class Outbox:
    """The messages of the devices behind one connection, first in first out.

    A message leaves it on PUBACK and in no other way: when the connection drops, everything in
    flight goes back to the front in its old order and is sent again.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._waiting: deque[Delivery] = deque()
        self._in_flight: dict[int, tuple[Delivery, float]] = {}

    def __len__(self) -> int:
        return len(self._waiting) + len(self._in_flight)

    @property
    def in_flight(self) -> int:
        """How many are sent and not acknowledged."""
        return len(self._in_flight)

    def put(self, delivery: Delivery) -> None:
        """Keep *delivery* until it is acknowledged."""
        self._waiting.append(delivery)

    def sendable(self) -> Iterator[Delivery]:
        """What the window lets out now, in order; each must be reported with `sent` at once."""
        while self._waiting and len(self._in_flight) < self._window:
            yield self._waiting.popleft()

    def sent(self, delivery: Delivery, packet_id: int, now_s: float) -> None:
        """*delivery* went out under *packet_id*."""
        self._in_flight[packet_id] = (delivery, now_s)

    def acked(self, packet_id: int) -> Delivery | None:
        """The broker has it. None for a packet this outbox does not know."""
        entry = self._in_flight.pop(packet_id, None)
        return entry[0] if entry else None

    def oldest_sent_s(self) -> float | None:
        """When the oldest unacknowledged message went out."""
        # Insertion order is sending order, and the broker acknowledges in that order.
        return next((at_s for _, at_s in self._in_flight.values()), None)

    def disconnected(self) -> int:
        """Take back what was in flight, to be sent first; how many that are."""
        back = [delivery for delivery, _ in self._in_flight.values()]
        self._in_flight.clear()
        self._waiting.extendleft(reversed(back))
        return len(back)


class Backoff:
    """Delays between attempts: doubling from *first_s* to *most_s*, each cut by up to a half.

    The cut comes from the caller's random number, so that a fleet does not come back in step.
    """

    def __init__(self, first_s: float = 0.1, most_s: float = 5.0) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._attempt = 0

    def reset(self) -> None:
        """The attempt succeeded."""
        self._attempt = 0

    def next_s(self, unit: float) -> float:
        """The delay before the next attempt; *unit* is random in [0, 1)."""
        whole_s = min(self._most_s, self._first_s * 2.0 ** min(self._attempt, 30))
        self._attempt += 1
        return whole_s * (1.0 - unit / 2)
