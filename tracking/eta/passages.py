"""When past trips passed which places: what any two of them lie apart in time."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Between(NamedTuple):
    """Trips that passed one place and later another, a row each, the oldest first.

    Attributes:
        left_s: when they passed the first, seconds of the day.
        took_s: how long they took to the second.
        size: how far that is, in what the trips were measured in: planned seconds or metres.
        lead: at the first place, what `add` was given for it: the delay, for trips with a plan.
        arrived_s: when they passed the second, on the clock of `add`.
    """

    left_s: Floats
    took_s: Floats
    size: Floats
    lead: Floats
    arrived_s: Floats


class Passages:
    """Places in the order trips passed them; grows with `add`, asked by pairs of places.

    A place may be anything hashable: a stop, a fence, a cell with a heading. Memory: 40 bytes a
    passage.
    """

    def __init__(self) -> None:
        self._columns = np.empty((4, 1_024))
        self._trip = np.empty(1_024, np.int64)
        self._n = 0
        self._trips = 0
        self._rows: dict[Hashable, list[int]] = {}

    def add(
        self,
        places: Sequence[Hashable],
        passed_s: Floats,
        size: Floats,
        lead: Floats,
        day_s: Floats,
    ) -> None:
        """Take up a trip; places it was not seen passing (`passed_s` NaN) are left out.

        `size` rises along the trip; `day_s` is `passed_s` as seconds of the local day.
        """
        seen = np.flatnonzero(np.isfinite(passed_s))
        self._reserve(self._n + len(seen))
        rows = np.arange(self._n, self._n + len(seen))
        self._columns[:, rows] = (passed_s[seen], size[seen], lead[seen], day_s[seen])
        self._trip[rows] = self._trips
        for row, place in zip(rows.tolist(), seen.tolist(), strict=True):
            self._rows.setdefault(places[place], []).append(row)
        self._n += len(seen)
        self._trips += 1

    def between(self, here: Hashable, there: Hashable) -> Between | None:
        """The trips that passed `here` and then `there`; None if there are none."""
        firsts, lasts = self._rows.get(here), self._rows.get(there)
        if not firsts or not lasts:
            return None
        first, last = np.array(firsts), np.array(lasts)
        # Rows and so trips ascend: of each first the next last, if that is the same trip's.
        following = np.searchsorted(last, first)
        inside = following < len(last)
        first, last = first[inside], last[following[inside]]
        same = (self._trip[first] == self._trip[last]) & (first < last)
        first, last = first[same], last[same]
        if not len(first):
            return None
        passed_s, size, lead, day_s = self._columns
        return Between(
            left_s=day_s[first],
            took_s=passed_s[last] - passed_s[first],
            size=size[last] - size[first],
            lead=lead[first],
            arrived_s=passed_s[last],
        )

    def _reserve(self, n: int) -> None:
        if n > len(self._trip):
            more = max(n, 2 * len(self._trip)) - len(self._trip)
            self._columns = np.pad(self._columns, ((0, 0), (0, more)))
            self._trip = np.pad(self._trip, (0, more))
