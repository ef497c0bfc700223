"""Moments and durations that are not known exactly."""

from collections.abc import Callable
from math import erf, hypot, sqrt
from typing import NamedTuple

# Standard deviations from the middle to p10 and p90.
_TENTH = 1.2815515655446004


class Spread(NamedTuple):
    """p10 <= p50 <= p90 of a moment in Unix seconds, or of a duration in seconds."""

    p10_s: float
    p50_s: float
    p90_s: float

    @classmethod
    def at(cls, time_s: float) -> "Spread":
        """What is certain."""
        return cls(time_s, time_s, time_s)

    def plus(self, other: "Spread") -> "Spread":
        """Both together, which err independently: how far they may be off adds up by squares."""
        p50_s = self.p50_s + other.p50_s
        low_s = hypot(self.p50_s - self.p10_s, other.p50_s - other.p10_s)
        high_s = hypot(self.p90_s - self.p50_s, other.p90_s - other.p50_s)
        return Spread(p50_s - low_s, p50_s, p50_s + high_s)

    def mapped(self, later: Callable[[float], float]) -> "Spread":
        """What becomes of it by a function that keeps the order of moments."""
        return Spread(later(self.p10_s), later(self.p50_s), later(self.p90_s))

    def not_before(self, time_s: float) -> "Spread":
        """The same, but that it cannot be earlier."""
        return self.mapped(lambda moment_s: max(moment_s, time_s))

    def after(self, time_s: float) -> float:
        """How likely it is after a moment: a normal distribution of its own to either side."""
        off_s = self.p50_s - time_s
        side_s = self.p50_s - self.p10_s if off_s >= 0 else self.p90_s - self.p50_s
        if side_s <= 0:
            return 0.5 if off_s == 0 else float(off_s > 0)
        return 0.5 * (1.0 + erf(off_s * _TENTH / side_s / sqrt(2.0)))
