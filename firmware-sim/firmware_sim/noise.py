"""Seeded noise without state: the n-th draw of a named stream is a function of its name and n.

A fault that is switched on or off therefore never shifts the draws of another one, which is what
makes a clean run and a faulty run of one seed carry the same readings.
"""

from collections.abc import Sequence
from hashlib import blake2b
from math import cos, log, pi, sqrt
from typing import NamedTuple, TypeVar

_MASK = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15

T = TypeVar("T")


class Noise:
    """One stream of random numbers, addressed by index (SplitMix64)."""

    __slots__ = ("_key",)

    def __init__(self, seed: int, *labels: str | int) -> None:
        name = "/".join(str(part) for part in (seed, *labels))
        self._key = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big")

    def bits(self, n: int) -> int:
        """Draw *n* as 64 random bits."""
        z = (self._key + (n + 1) * _GAMMA) & _MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)

    def unit(self, n: int) -> float:
        """Draw *n*, uniform in [0, 1)."""
        return (self.bits(n) >> 11) * 2.0**-53

    def between(self, n: int, low: float, high: float) -> float:
        """Draw *n*, uniform in [low, high)."""
        return low + (high - low) * self.unit(n)

    def pick(self, n: int, choices: Sequence[T]) -> T:
        """One of *choices* for draw *n*."""
        return choices[self.bits(n) % len(choices)]

    def gauss_pair(self, n: int) -> tuple[float, float]:
        """Two independent standard normals; uses draws 2n and 2n + 1."""
        radius = sqrt(-2.0 * log(1.0 - self.unit(2 * n)))
        angle = 2.0 * pi * self.unit(2 * n + 1)
        return radius * cos(angle), radius * cos(angle - pi / 2)


class Window(NamedTuple):
    """A span of simulated time, `[start_ms, end_ms)`; `number` is unique within its `Windows`."""

    number: int
    start_ms: int
    end_ms: int


class Windows:
    """Spans that cover the share *share* of all time and last about *mean_s* each.

    Time is cut into slots of `mean_s / share` with a random phase, and each slot holds one window
    at a random place: short runs of many devices see their share too, and whether an instant is
    covered needs no memory of what came before.
    """

    def __init__(self, noise: Noise, share: float, mean_s: float) -> None:
        self._noise = noise
        self._mean_ms = mean_s * 1000
        self._slot_ms = self._mean_ms / share if share > 0 else 0.0
        self._phase_ms = self._slot_ms * noise.unit(0)

    def at(self, ms: int) -> Window | None:
        """The window that covers *ms*, or None."""
        if not self._slot_ms:
            return None
        index = int((ms + self._phase_ms) // self._slot_ms)
        length_ms = self._mean_ms * self._noise.between(2 * index + 1, 0.5, 1.5)
        room_ms = self._slot_ms - length_ms
        start_ms = int(
            index * self._slot_ms - self._phase_ms + room_ms * self._noise.unit(2 * index + 2)
        )
        end_ms = start_ms + int(length_ms)
        return Window(index, start_ms, end_ms) if start_ms <= ms < end_ms else None
