"""When past trips passed which places: what any two of them lie apart in time."""

from collections.abc import Sequence
from typing import Any, Generic, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracking.eta.packed import State
from tracking.eta.rows import Key, Rows

Floats = NDArray[np.float64]

# The latest passages kept, and of one place the latest asked: a lane driven more often than that
# is known well enough.
KEPT_PASSAGES = 100_000
_ASKED = 4_000


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


class Passages(Generic[Key]):
    """Places in the order trips passed them; grows with `add`, asked by pairs of places.

    A place may be anything hashable: a stop, a fence, a cell with a heading. The latest `most`
    passages are kept. Memory: 40 bytes a passage, and some 100 for finding it.
    """

    def __init__(self, *, most: int = KEPT_PASSAGES) -> None:
        # When it was passed, and its size, lead and seconds of the day.
        self._rows: Rows[Key] = Rows(3, most=most)

    def add(
        self,
        places: Sequence[Key],
        passed_s: Floats,
        size: Floats,
        lead: Floats,
        day_s: Floats,
    ) -> None:
        """Take up a trip; places it was not seen passing (`passed_s` NaN) are left out.

        `size` rises along the trip; `day_s` is `passed_s` as seconds of the local day.
        """
        seen = np.flatnonzero(np.isfinite(passed_s))
        keys = [places[place] for place in seen.tolist()]
        self._rows.add(keys, passed_s[seen], np.stack([size[seen], lead[seen], day_s[seen]]))

    def between(self, here: Key, there: Key) -> Between | None:
        """The trips that passed `here` and then `there`; None if there are none."""
        first, last = self._rows.of(here)[-_ASKED:], self._rows.of(there)[-_ASKED:]
        if not len(first) or not len(last):
            return None
        # Rows and so trips ascend: of each first the next last, if that is the same trip's.
        following = np.searchsorted(last, first)
        inside = following < len(last)
        first, last = first[inside], last[following[inside]]
        trips = self._rows.trips
        same = (trips[first] == trips[last]) & (first < last)
        first, last = first[same], last[same]
        if not len(first):
            return None
        passed_s, (size, lead, day_s) = self._rows.times_s, self._rows.values
        return Between(
            left_s=day_s[first],
            took_s=passed_s[last] - passed_s[first],
            size=size[last] - size[first],
            lead=lead[first],
            arrived_s=passed_s[last],
        )

    def state(self) -> State:
        """All of it, to be saved; places must be what JSON can tell."""
        return self._rows.state()

    def restore(self, state: State, place: Any) -> None:  # noqa: ANN401 -- a type, for msgspec
        """Be what was saved; places are read as `place`."""
        self._rows.restore(state, place)
