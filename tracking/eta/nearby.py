"""What trips from around here to around there took, against what had been expected of them."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
from h3.api import numpy_int as h3
from numpy.typing import NDArray

from geofence.geodesy import chords_m, ecef
from tracking.eta.packed import State
from tracking.eta.rows import Rows

Floats = NDArray[np.float64]
Place = tuple[float, float]  # lon, lat

# Samples kept, one a minute of driving: 1,600 hours. 15 MB in memory, 3 MB saved.
KEPT_SAMPLES = 100_000
# Where trips are looked for: 1.4 km edges and their neighbours, about both ends.
_RESOLUTION = 7
# Trips heard per forecast, one sample each: more blur what is near.
_TRIPS = 30
_CANDIDATES = 4 * _TRIPS
# A place this far away is e times less alike; longer trips may begin further apart.
_NEAR_M, _NEAR_SHARE = 150.0, 0.1
_HOURS_S, _DAY_S = 10_800.0, 86_400.0
# What arrived just now counts so much more than long ago.
_RECENT, _RECENT_S = 2.0, 10_800.0
# Logs of ratios are clipped: one trip that waited an hour is no rule (sums of seconds fail).
_CLIP = 0.7
_PRIOR = 0.5


class Start(NamedTuple):
    """Where a trip is and where it goes: `left_m` by its path, or as the crow flies."""

    here: Place
    there: Place
    left_m: float
    day_s: float


class Evidence(NamedTuple):
    """What is to be multiplied to the prior, and by how many trips just like this one."""

    ratio: float
    trips: float


class Nearby:
    """Samples of past trips, found by where they were and went; the latest `most` are kept.

    Memory: 56 bytes a sample and some 100 for finding it. Places are told to half a metre.
    """

    def __init__(self, *, most: int = KEPT_SAMPLES) -> None:
        # By the cells of both ends: here (x, y, z), there, logs of what it took and of what had
        # been expected, metres, hour.
        self._rows: Rows[tuple[int, int]] = Rows(10, np.float32, most=most)

    def learn(
        self, starts: Sequence[Start], took_s: Floats, expected_s: Floats, arrived_s: float
    ) -> None:
        """Take up a trip that ended: of each sample what it took, and what had been expected."""
        if not starts:
            return
        logs = np.log(np.maximum(np.stack([took_s, expected_s], axis=1), 1.0)).tolist()
        rows = [
            (*_point(start.here), *_point(start.there), *both, start.left_m, start.day_s)
            for start, both in zip(starts, logs, strict=True)
        ]
        keys = [(_cell(start.here), _cell(start.there)) for start in starts]
        self._rows.add(keys, arrived_s, np.array(rows).T)

    def evidence(
        self, start: Start, now_s: float, expected: Callable[[Floats], Floats] | None = None
    ) -> Evidence:
        """What trips like this one took against their prior; a ratio of 1 where there are none.

        `expected` tells seconds of metres left, as would be expected now; None: as was then.
        """
        rows = self._rows.of_all(_keys(start))
        if not len(rows):
            return Evidence(1.0, 0.0)
        found = self._rows.values[:, rows].astype(np.float64)
        apart = _apart(found, start)
        if len(apart) > _CANDIDATES:
            nearest = np.argpartition(apart, _CANDIDATES)[:_CANDIDATES]
            rows, found, apart = rows[nearest], found[:, nearest], apart[nearest]
        order = np.argsort(apart, kind="stable")
        # One vote per trip: its sample that is most alike.
        _, first = np.unique(self._rows.trips[rows[order]], return_index=True)
        chosen = order[np.sort(first)[:_TRIPS]]
        arrived_s = self._rows.times_s[rows[chosen]]
        prior = found[7, chosen] if expected is None else np.log(expected(found[8, chosen]))
        logs = np.clip(found[6, chosen] - prior, -_CLIP, _CLIP)
        weight = np.exp(-apart[chosen])
        weight *= 1.0 + _RECENT * np.exp(-np.maximum(now_s - arrived_s, 0.0) / _RECENT_S)
        total = float(weight.sum())
        return Evidence(math.exp(float((weight * logs).sum()) / (total + _PRIOR)), total)

    def state(self) -> State:
        """All of it, to be saved."""
        return self._rows.state()

    def restore(self, state: State) -> None:
        """Be what was saved."""
        self._rows.restore(state, tuple[int, int])


def _apart(found: Floats, start: Start) -> Floats:
    """How unlike this trip the samples are, as the exponent of their weight."""
    scale_m = _NEAR_M + _NEAR_SHARE * start.left_m
    from_m = chords_m(*found[0:3], *map(np.float64, _point(start.here)))
    to_m = chords_m(*found[3:6], *map(np.float64, _point(start.there)))
    hours_s = np.abs(found[9] - start.day_s)
    hours_s = np.minimum(hours_s, _DAY_S - hours_s)
    apart: Floats = (from_m + to_m + np.abs(found[8] - start.left_m)) / scale_m
    apart += hours_s / _HOURS_S
    return apart


# Destinations repeat; numpy takes 15 us for what is one point.
@lru_cache(maxsize=4_096)
def _point(place: Place) -> tuple[float, float, float]:
    lon, lat = np.array([place[0]]), np.array([place[1]])
    x, y, z = ecef(lon, lat)
    return float(x[0]), float(y[0]), float(z[0])


def _cell(place: Place) -> int:
    return int(h3.latlng_to_cell(place[1], place[0], _RESOLUTION))


@lru_cache(maxsize=4_096)
def _around(cell: int) -> list[int]:
    around: list[int] = h3.grid_disk(cell, 1).tolist()
    return around


def _keys(start: Start) -> Iterator[tuple[int, int]]:
    return product(_around(_cell(start.here)), _around(_cell(start.there)))
