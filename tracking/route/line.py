"""A planned way on the ground: how far along it something is, and how far beside it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geofence.geodesy import Floats
from geofence.metric import distances_m, metres_per_degree

Ints = NDArray[np.int64]

# Pieces this near are equally likely: a fix errs by so much, and so do lines drawn on maps.
_ALIKE_M = 40.0
# Going back further than fixes scatter costs four times what going on costs, so that who turns
# where the line turns is taken to be on its way back rather than to reverse.
LOOSE_M, _BACK = 50.0, 4.0
# Of degrees: a tenth of a millimetre.
_DIGITS = 9
# Looked at around a known progress before the whole line is; only speed depends on it.
_WINDOW_M = 5_000.0


class Projection(NamedTuple):
    """The place on a line nearest to a fix: metres from its beginning, metres to the fix."""

    along_m: float
    offset_m: float


class Line:
    """Places joined by edges that are straight in lon, lat and go the short way round.

    Offsets are measured in the local plane at the fix, lengths over ground.
    """

    __slots__ = ("_along_m", "_east", "_lat", "_length_m", "_lon", "_north")

    def __init__(self, lon: Floats, lat: Floats) -> None:
        """Corners as they follow each other, at least two, none equal to the one before."""
        self._lon, self._lat = lon, lat
        self._east = _short_way(lon[1:] - lon[:-1])
        self._north = lat[1:] - lat[:-1]
        self._length_m = distances_m(lon[:-1], lat[:-1], lon[1:], lat[1:])
        self._along_m = np.concatenate([[0.0], np.cumsum(self._length_m)])

    @classmethod
    def of(cls, points: Sequence[tuple[float, float]]) -> "Line":
        """The line through `[lon, lat]` points; repeated ones count once.

        Raises:
            ValueError: Fewer than two different points follow each other.
        """
        places = np.round(np.array(points, np.float64).reshape(-1, 2), _DIGITS)
        moved = np.ones(len(places), bool)
        moved[1:] = (_short_way(np.diff(places[:, 0])) != 0.0) | (np.diff(places[:, 1]) != 0.0)
        if np.count_nonzero(moved) < 2:
            raise ValueError("a line needs two different points")
        return cls(places[moved, 0].copy(), places[moved, 1].copy())

    @property
    def length_m(self) -> float:
        """From its first point to its last, along it."""
        return float(self._along_m[-1])

    def project(self, lon: float, lat: float, near_m: float | None = None) -> Projection:
        """Where on the line a fix is.

        Without `near_m` at the nearest place. With it, where the line comes by several times, on
        the piece best reached from `near_m` metres along it, rather ahead than behind; so loops and
        ways there and back are told apart.
        """
        if near_m is None:
            along_m, offset_m, _ = self._seen_from(lon, lat, 0, len(self._east))
            best = int(np.argmin(offset_m))
            return Projection(float(along_m[best]), float(offset_m[best]))
        first, last = np.searchsorted(self._along_m, (near_m - _WINDOW_M, near_m + _WINDOW_M))
        found = self._chosen(lon, lat, near_m, max(int(first) - 1, 0), int(last))
        if found is None or found.offset_m > _ALIKE_M or _cost(found.along_m - near_m) > _WINDOW_M:
            found = self._chosen(lon, lat, near_m, 0, len(self._east))
        return found or self.project(lon, lat)

    def at(self, along_m: float) -> tuple[float, float]:
        """The place so many metres from its beginning, on the line in any case."""
        piece = self._piece(along_m)
        part = (along_m - self._along_m[piece]) / self._length_m[piece]
        part = min(max(float(part), 0.0), 1.0)
        lon = float(_short_way(self._lon[piece] + part * self._east[piece]))
        return lon, float(self._lat[piece] + part * self._north[piece])

    def rest(self, along_m: float) -> list[tuple[float, float]]:
        """What is left of it from there on: two points at least, which may be one place."""
        piece = self._piece(along_m)
        lon, lat = self._lon[piece + 1 :].tolist(), self._lat[piece + 1 :].tolist()
        return [self.at(along_m), *zip(lon, lat, strict=True)]

    def _piece(self, along_m: float) -> int:
        piece = int(np.searchsorted(self._along_m, along_m, side="right")) - 1
        return min(max(piece, 0), len(self._east) - 1)

    def _chosen(
        self, lon: float, lat: float, near_m: float, first: int, last: int
    ) -> Projection | None:
        """The likeliest of the places where pieces `first` to `last` come nearest to a fix."""
        # At a corner the piece before it has its say, so one more is looked at.
        begin = max(first - 1, 0)
        along_m, offset_m, part = self._seen_from(lon, lat, begin, min(last, len(self._east)))
        passed = np.concatenate([[True], part[:-1] == 1.0])
        dip = (part > 0.0) & (part < 1.0) | (part == 0.0) & passed
        if last >= len(self._east):
            dip[-1] |= part[-1] == 1.0
        dips = np.flatnonzero(dip[first - begin :]) + (first - begin)
        if not len(dips):
            return None
        nearest = float(offset_m[dips].min())
        limit = _ALIKE_M if nearest <= _ALIKE_M else nearest + _ALIKE_M
        dips = dips[offset_m[dips] <= limit]
        best = dips[int(np.argmin(_cost(along_m[dips] - near_m)))]
        return Projection(float(along_m[best]), float(offset_m[best]))

    def _seen_from(
        self, lon: float, lat: float, first: int, last: int
    ) -> tuple[Floats, Floats, Floats]:
        """Where along the line each piece is nearest to a fix, how near, and at what part of it."""
        kx, ky = metres_per_degree(np.array(lat))
        x0 = _short_way(self._lon[first:last] - lon) * kx
        y0 = (self._lat[first:last] - lat) * ky
        dx, dy = self._east[first:last] * kx, self._north[first:last] * ky
        part = np.clip(-(x0 * dx + y0 * dy) / (dx * dx + dy * dy), 0.0, 1.0)
        offset_m = np.hypot(x0 + part * dx, y0 + part * dy)
        return self._along_m[first:last] + part * self._length_m[first:last], offset_m, part


def _cost(ahead_m: Floats | float) -> Floats:
    """How unlikely it is to be found so far ahead of, or behind, where it was."""
    back_m = np.maximum(np.negative(ahead_m) - LOOSE_M, 0.0)
    result: Floats = np.abs(ahead_m) + (_BACK - 1.0) * back_m
    return result


def _short_way(degrees: Floats) -> Floats:
    result: Floats = degrees - 360.0 * np.rint(degrees / 360.0)
    return result
