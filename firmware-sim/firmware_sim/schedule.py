"""Hands out a simulation's deliveries as they fall due, and can be cut short."""

from math import inf

from firmware_sim.manifest import Ledger
from firmware_sim.plan import Simulation
from firmware_sim.readings import Delivery


class Schedule:
    """The deliveries of *simulation* in wire order; tells *ledger* of each reading made."""

    def __init__(self, simulation: Simulation, ledger: Ledger) -> None:
        self._simulation = simulation
        self._slices = simulation.slices()
        self._ledger = ledger
        self._due: list[Delivery] = []  # reversed: the next one is at the end
        self._made_until_ms = inf
        self._next_slice_ms = 0.0
        self.is_exhausted = False

    def take(self, now_ms: float, room: int) -> list[Delivery]:
        """What is due by *now_ms*, at most *room*; the model moves on as far as that needs."""
        taken: list[Delivery] = []
        while len(taken) < room:
            if not self._due and not self._refill(now_ms):
                break
            if not self._due:
                continue
            if self._due[-1].at_ms > now_ms:
                break
            delivery = self._due.pop()
            if delivery.reading.made_ms <= self._made_until_ms:
                taken.append(delivery)
        return taken

    @property
    def next_ms(self) -> float:
        """When there may be something to take again; infinity when exhausted."""
        if self._due:
            return self._due[-1].at_ms
        return inf if self.is_exhausted else self._next_slice_ms

    @property
    def reached_ms(self) -> float:
        """How far the model has come."""
        return self._next_slice_ms

    def cut(self, now_ms: float) -> None:
        """Make no more readings, and forget the ones the model made ahead of *now_ms*."""
        self._made_until_ms = now_ms
        self._simulation.stop()

    def _refill(self, now_ms: float) -> bool:
        if self._next_slice_ms > now_ms:
            return False
        piece = next(self._slices, None)
        if piece is None:
            self.is_exhausted = True
            return False
        for reading, deliveries in piece.planned:
            self._ledger.planned(reading, deliveries)
        self._due = piece.deliveries[::-1]
        self._next_slice_ms = piece.end_ms
        return True
