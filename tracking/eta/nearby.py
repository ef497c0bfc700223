"""What trips from around here to around there took, against what had been expected of them."""

import math
from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
from h3.api import numpy_int as h3
from numpy.typing import NDArray

from geofence.geodesy import chords_m, ecef

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Place = tuple[float, float]  # lon, lat

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
    """Samples of past trips, found by where they were and went; 88 bytes each."""

    def __init__(self) -> None:
        self._rows = np.empty((11, 1_024))
        self._n = 0
        self._trips = 0
        # Ends as cells -> rows; lists while they grow, arrays once asked.
        self._grown: dict[tuple[int, int], list[int]] = {}
        self._asked: dict[tuple[int, int], Ints] = {}

    def learn(self, starts: list[Start], ratios: Floats, arrived_s: float) -> None:
        """Take up a trip that ended: of each sample how long it took against the prior."""
        if self._n + len(starts) > self._rows.shape[1]:
            more = max(self._rows.shape[1], len(starts))
            self._rows = np.pad(self._rows, ((0, 0), (0, more)))
        logs = np.clip(np.log(np.maximum(ratios, 1e-3)), -_CLIP, _CLIP)
        for start, log in zip(starts, logs.tolist(), strict=True):
            row = self._n
            self._rows[:, row] = (
                *_point(start.here),
                *_point(start.there),
                log,
                start.left_m,
                start.day_s,
                arrived_s,
                self._trips,
            )
            key = (_cell(start.here), _cell(start.there))
            self._grown.setdefault(key, []).append(row)
            self._asked.pop(key, None)
            self._n += 1
        self._trips += 1

    def evidence(self, start: Start, now_s: float) -> Evidence:
        """What trips like this one took against their prior; a ratio of 1 where there are none."""
        near = [self._of(key) for key in _keys(start) if key in self._grown]
        if not near:
            return Evidence(1.0, 0.0)
        found = self._rows[:, np.concatenate(near)]
        apart = _apart(found, start)
        if len(apart) > _CANDIDATES:
            nearest = np.argpartition(apart, _CANDIDATES)[:_CANDIDATES]
            found, apart = found[:, nearest], apart[nearest]
        order = np.argsort(apart, kind="stable")
        # One vote per trip: its sample that is most alike.
        _, first = np.unique(found[10][order], return_index=True)
        chosen = order[np.sort(first)[:_TRIPS]]
        logs, arrived_s = found[6, chosen], found[9, chosen]
        weight = np.exp(-apart[chosen])
        weight *= 1.0 + _RECENT * np.exp(-np.maximum(now_s - arrived_s, 0.0) / _RECENT_S)
        total = float(weight.sum())
        return Evidence(math.exp(float((weight * logs).sum()) / (total + _PRIOR)), total)

    def _of(self, key: tuple[int, int]) -> Ints:
        rows = self._asked.get(key)
        if rows is None:
            rows = self._asked[key] = np.array(self._grown[key], np.int64)
        return rows


def _apart(found: Floats, start: Start) -> Floats:
    """How unlike this trip the samples are, as the exponent of their weight."""
    scale_m = _NEAR_M + _NEAR_SHARE * start.left_m
    from_m = chords_m(*found[0:3], *map(np.float64, _point(start.here)))
    to_m = chords_m(*found[3:6], *map(np.float64, _point(start.there)))
    hours_s = np.abs(found[8] - start.day_s)
    hours_s = np.minimum(hours_s, _DAY_S - hours_s)
    apart: Floats = (from_m + to_m + np.abs(found[7] - start.left_m)) / scale_m
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
