"""How long each hop from one known place to the next takes, whoever drives it.

Lanes that share a street share its hops: together they know more of it than the few trips between
just the two places that are asked for, and sooner how it is today.
"""

from collections.abc import Hashable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tracking.eta.pace import DAY_PARTS, day_part
from tracking.eta.sums import LiveRatio, Sums

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Metres that make a level half believed: the hop, and the part of the day.
_HALF_M = (300.0, 2_000.0)
# What is shorter or slower was read off a clock that stood still.
_LEAST_M, _LEAST_MPS = 5.0, 0.3
_UNKNOWN = -1


class Hops:
    """Paces of hops; `learn` as trips end, `seconds` as often as needed."""

    def __init__(self, *, usual_mps: float) -> None:
        # Worth a hundred metres: any trip outweighs the guess.
        self._total = np.array([100.0 / usual_mps, 100.0])
        self._keys: dict[tuple[Hashable, Hashable], int] = {}
        self._hops, self._parts = Sums(), Sums()
        self._live = LiveRatio()

    def learn(
        self, places: Sequence[Hashable], passed_s: Floats, along_m: Floats, day_s: Floats,
        *, today: bool,
    ) -> None:  # fmt: skip
        """Take up a trip; hops at whose ends it was not seen (NaN) are left out."""
        seconds, metres = np.diff(passed_s), np.diff(along_m)
        seen = np.flatnonzero((metres > _LEAST_M) & (seconds > 0) & (metres > _LEAST_MPS * seconds))
        if not len(seen):
            return
        known = self._keys
        ends = list(pairwise(places))
        hops = np.array([known.setdefault(ends[hop], len(known)) for hop in seen.tolist()])
        parts = _at(hops, float(day_s[seen[0]]))
        seconds, metres = seconds[seen], metres[seen]
        if today:
            usual_s = self._usual_s(hops, parts, metres)
            self._live.learn(hops, seconds, usual_s, passed_s[seen + 1])
        self._hops.add(hops, seconds, metres)
        self._parts.add(parts, seconds, metres)
        self._total += (seconds.sum(), metres.sum())

    def seconds(
        self, places: Sequence[Hashable], metres: Floats, now_s: float, day_s: float
    ) -> float:
        """How long a trip under way takes along these places; `metres` are those of each hop."""
        hops = np.array([self._keys.get(ends, _UNKNOWN) for ends in pairwise(places)], np.int64)
        usual_s = self._usual_s(hops, _at(hops, day_s), metres)
        ratios = self._live.ratios(hops, now_s, self._live.everywhere(now_s))
        return max(0.0, float((usual_s * ratios).sum()))

    def _usual_s(self, hops: Ints, parts: Ints, metres: Floats) -> Floats:
        pace = np.full(len(metres), self._total[0] / self._total[1])
        levels = ((self._hops, hops), (self._parts, parts))
        for (level, keys), half_m in zip(levels, _HALF_M, strict=True):
            sums = level.of(keys)
            pace = (sums[:, 0] + half_m * pace) / (sums[:, 1] + half_m)
        return pace * metres


def _at(hops: Ints, day_s: float) -> Ints:
    """Keys of hops at a part of the day; below 0 for those that are not known."""
    return hops * DAY_PARTS + day_part(day_s)
