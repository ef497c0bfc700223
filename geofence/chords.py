"""Zones a straight line between two fixes passes through, both ends outside."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geofence.columns import spread, starts_of
from geofence.geodesy import Floats
from geofence.metric import metres_per_degree

Ints = NDArray[np.int64]

# Shallower passages are more often a cut corner than a visit.
DEPTH_MIN_M = 20.0
# A place 20 m deep has 20 m of the chord inside on either side: no zone slips between samples.
_STEP_M = 39.0
# The deepest point is found to this.
_PRECISION_M = 0.5


class Crossings(NamedTuple):
    """Chords and the zones they cross, sorted by segment, then zone."""

    segment: Ints
    zone: Ints
    depth_m: Floats  # of the deepest point
    fraction: Floats  # of the way, where that is


# As `Index.members` and `Index.depths_m`.
Members = Callable[[Floats, Floats], tuple[Ints, Ints]]
Depths = Callable[[Floats, Floats, Ints], Floats]


class Chords:
    """Straight lines in lon, lat between pairs of places, the short way round."""

    def __init__(self, lon0: Floats, lat0: Floats, lon1: Floats, lat1: Floats) -> None:
        self.lon, self.lat = lon0, lat0
        self.east = lon1 - lon0
        self.east = self.east - 360.0 * np.rint(self.east / 360.0)
        self.north = lat1 - lat0
        kx, ky = metres_per_degree((lat0 + lat1) / 2)
        self.length_m = np.hypot(self.east * kx, self.north * ky)

    def at(self, chord: Ints, fraction: Floats) -> tuple[Floats, Floats]:
        """Places on chords."""
        lon = self.lon[chord] + fraction * self.east[chord]
        lon = np.where(np.abs(lon) > 180.0, lon - 360.0 * np.rint(lon / 360.0), lon)
        return lon, self.lat[chord] + fraction * self.north[chord]


def crossings(chords: Chords, members: Members, depths_m: Depths) -> Crossings:
    """The chords that cross a zone deeply enough."""
    chosen = np.flatnonzero(chords.length_m >= 2 * DEPTH_MIN_M)
    chord, zone = _entered(chords, chosen, members)
    if not len(chord):
        nothing = np.empty(0, np.int64)
        return Crossings(nothing, nothing, np.empty(0), np.empty(0))
    depth_m, fraction = _deepest(chords, chord, zone, depths_m)
    deep = np.flatnonzero(depth_m >= DEPTH_MIN_M)
    return Crossings(chord[deep], zone[deep], depth_m[deep], fraction[deep])


def _entered(chords: Chords, chosen: Ints, members: Members) -> tuple[Ints, Ints]:
    """Pairs of chords and zones that hold a sample of it, but neither end."""
    steps = np.ceil(chords.length_m[chosen] / _STEP_M).astype(np.int64)
    of, step = spread(np.zeros_like(steps), steps + 1)
    point, zone = members(*chords.at(chosen[of], step / steps[of]))
    if not len(point):
        return point, zone
    end = (step[point] == 0) | (step[point] == steps[of[point]])
    chord = chosen[of[point]]
    order = np.lexsort((zone, chord))
    chord, zone, end = chord[order], zone[order], end[order]
    fresh = (chord[1:] != chord[:-1]) | (zone[1:] != zone[:-1])
    first = np.concatenate([[0], np.flatnonzero(fresh) + 1])
    first = first[~np.logical_or.reduceat(end, first)]
    return chord[first], zone[first]


def _deepest(chords: Chords, chord: Ints, zone: Ints, depths_m: Depths) -> tuple[Floats, Floats]:
    """Depth and place of the deepest point of each pair's chord.

    Depth changes by at most a metre per metre of the way, so a stretch between two known depths
    is bounded; stretches that may still hold the deepest point are halved.
    """
    best_m, best_at = np.full(len(chord), -np.inf), np.zeros(len(chord))
    length_m = chords.length_m[chord]
    # Begin with stretches as long as the samples that found the zone.
    steps = np.ceil(length_m / _STEP_M).astype(np.int64)
    pair, step = spread(np.zeros_like(steps), steps + 1)
    at = step / steps[pair]
    depth = depths_m(*chords.at(chord[pair], at), zone[pair])
    _raise_best(best_m, best_at, pair, depth, at)
    inner = np.flatnonzero(pair[1:] == pair[:-1])
    pair = pair[inner]
    low, high, depth0, depth1 = at[inner], at[inner + 1], depth[inner], depth[inner + 1]
    while len(pair):
        bound = (depth0 + depth1 + (high - low) * length_m[pair]) / 2
        # What cannot be deep enough need not be known well.
        floor = np.maximum(best_m[pair], DEPTH_MIN_M - _PRECISION_M)
        open_ = np.flatnonzero(bound > floor + _PRECISION_M)
        pair = pair[open_]
        low, high, depth0, depth1 = (column[open_] for column in (low, high, depth0, depth1))
        if not len(pair):
            break
        middle = (low + high) / 2
        depth = depths_m(*chords.at(chord[pair], middle), zone[pair])
        _raise_best(best_m, best_at, pair, depth, middle)
        pair = np.concatenate([pair, pair])
        low, high = np.concatenate([low, middle]), np.concatenate([middle, high])
        depth0, depth1 = np.concatenate([depth0, depth]), np.concatenate([depth, depth1])
        order = np.argsort(pair, kind="stable")
        pair = pair[order]
        low, high, depth0, depth1 = (column[order] for column in (low, high, depth0, depth1))
    return best_m, best_at


def _raise_best(best_m: Floats, best_at: Floats, pair: Ints, depth_m: Floats, at: Floats) -> None:
    """Keep the deepest of each pair, the first of equals; `pair` ascends."""
    if not len(pair):
        return
    starts = starts_of(pair)
    top = np.maximum.reduceat(depth_m, starts)
    group = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(pair))))
    hits = np.flatnonzero(depth_m == top[group])
    hits = hits[starts_of(group[hits])]
    better = hits[depth_m[hits] > best_m[pair[hits]]]
    best_m[pair[better]] = depth_m[better]
    best_at[pair[better]] = at[better]
