"""Tracks against zones: depths, the naive answer, the machine's answer, and how they differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from geofence.calm import OUTSIDE, Calm, Presence, Seen, observe
from tests.calm_study.recordings import Floats, Track

Ints = NDArray[np.int64]
Shapes = NDArray[np.object_]

# Depths are computed this near to a zone; beyond, a fix is far outside.
NEAR_M = 400.0
FAR_OUTSIDE_M = -1e6


class Ground:
    """Zones with what the study asks of them."""

    def __init__(self, zones: Sequence[BaseGeometry]) -> None:
        self.zones: Shapes = np.array(zones, object)
        shapely.prepare(self.zones)
        self._tree = shapely.STRtree(self.zones)
        self._borders: Shapes = np.array([zone.boundary for zone in zones], object)
        # Each a line from the centre of the largest circle to where it touches the border.
        radii = [
            shapely.length(shapely.maximum_inscribed_circle(np.array(zone), tolerance=1.0))
            for zone in zones
        ]
        self.inradius_m: Floats = np.array(radii)

    def near(self, x: Floats, y: Floats) -> tuple[Ints, Ints, Floats]:
        """(fix, zone, depth) of all pairs at most `NEAR_M` apart, by zone, then fix."""
        points: Shapes = np.array(shapely.points(x, y), object)
        fix, zone = self._tree.query(points, predicate="dwithin", distance=NEAR_M)
        order = np.lexsort((fix, zone))
        fix, zone = fix[order], zone[order]
        inside = shapely.intersects(self.zones[zone], points[fix])
        border_m = shapely.distance(self._borders[zone], points[fix])
        return fix, zone, np.where(inside, border_m, -border_m)


@dataclass(slots=True)
class Fixes:
    """One track as a device reports it. `accuracy_m` NaN where unknown."""

    t: Floats
    x: Floats
    y: Floats
    accuracy_m: Floats
    interval_s: float  # the usual time between two fixes

    @classmethod
    def of(cls, track: Track) -> "Fixes":
        """A track without any accuracy, as recorded."""
        return cls(track.t, track.x, track.y, np.full(len(track.t), nan), usual_s(track.t))

    def at(self, rows: Ints) -> "Fixes":
        """Some of the fixes."""
        return Fixes(
            self.t[rows], self.x[rows], self.y[rows], self.accuracy_m[rows], self.interval_s
        )


def usual_s(t: Floats) -> float:
    """The usual time between two fixes."""
    return float(np.median(np.diff(t))) if len(t) > 1 else 0.0


class Turn(NamedTuple):
    """The device counts as inside, or as outside, from `t` on."""

    t: float
    inside: bool


class Run(NamedTuple):
    """A true run: from its first fix until before `end`. `side_m`: how deep on its side."""

    start: float
    end: float
    inside: bool
    side_m: float


def naive_turns(t: Floats, depth_m: Floats) -> list[Turn]:
    """Every change of side is a transition; where the device starts is the first turn."""
    inside = depth_m >= 0.0
    at = np.r_[0, np.flatnonzero(np.diff(inside)) + 1]
    return [Turn(*turn) for turn in zip(t[at].tolist(), inside[at].tolist(), strict=True)]


def true_runs(t: Floats, depth_m: Floats) -> list[Run]:
    """T50: what is deep or lasting on either side, the rest merged into the run before it."""
    inside = depth_m >= 0.0
    edges = np.flatnonzero(np.diff(inside)) + 1
    starts, ends = np.r_[0, edges].tolist(), np.r_[edges, len(t)].tolist()
    runs: list[Run] = []
    until = np.r_[t, t[-1] + usual_s(t)].tolist()
    for a, b in zip(starts, ends, strict=True):
        side_m = float(np.abs(depth_m[a:b]).max())
        lasting = b - a >= 3 and t[b - 1] - t[a] >= 60.0 and side_m >= 10.0
        counts = side_m >= 50.0 or lasting
        if not counts or (runs and runs[-1].inside == bool(inside[a])):
            if runs:
                deepest_m = max(runs[-1].side_m, side_m if counts else 0.0)
                runs[-1] = runs[-1]._replace(end=until[b], side_m=deepest_m)
            continue
        # What comes before the first run that counts belongs to it.
        runs.append(Run(until[a] if runs else until[0], until[b], bool(inside[a]), side_m))
    return runs


def calm_turns(
    fixes: Fixes, zone: int, depth_m: Floats, inradius_m: float, calm: Calm
) -> list[Turn]:
    """The machine of a free fence over one track; it starts where the first fix is."""
    presence = Presence(zone, zone if depth_m[0] >= 0.0 else OUTSIDE)
    turns = [Turn(float(fixes.t[0]), presence.zone != OUTSIDE)]
    for t, accuracy_m, depth in zip(
        fixes.t.tolist(), fixes.accuracy_m.tolist(), depth_m.tolist(), strict=True
    ):
        target = zone if depth >= 0.0 else OUTSIDE
        away_m = depth if presence.zone == OUTSIDE else -depth
        seen = Seen(
            round(t * 1e6), 0.0, 0.0, accuracy_m, fixes.interval_s, target, away_m, inradius_m
        )
        change = observe(presence, seen, calm)
        if change is not None:
            turns.append(Turn(change.time_us / 1e6, change.entered != OUTSIDE))
    return turns
