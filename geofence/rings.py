"""Lists of positions as people write them: checked, cleaned, and their longitudes unwrapped."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from geofence.faults import NoAreaError, ShapeError, at
from geofence.geodesy import Floats

# Beyond this a request is a mistake (a country in full detail has some 50,000).
MAX_VERTICES = 100_000
# Unwrapped longitudes may run on for half a turn either way, and a full turn from there.
_MAX_LON = 540.0


@dataclass(frozen=True, slots=True)
class Run:
    """A line or ring: lon and lat, `vertex` the numbers its positions had in the input.

    Longitudes are unwrapped; `turns` is how often the line, closed, goes round the Earth eastwards.
    """

    lon: Floats
    lat: Floats
    vertex: NDArray[np.int64]
    where: str
    turns: int = 0

    def shifted(self, degrees: float) -> "Run":
        """The same run, `degrees` further east."""
        if degrees == 0.0:
            return self
        return Run(self.lon + degrees, self.lat, self.vertex, self.where, self.turns)

    @property
    def coordinates(self) -> Floats:
        """One row of lon, lat per position."""
        return np.column_stack((self.lon, self.lat))

    @property
    def signed_area(self) -> float:
        """In square degrees, positive if it runs counterclockwise."""
        lon, lat = self.lon - self.lon[0], self.lat
        return float(np.dot(lon[:-1], lat[1:]) - np.dot(lon[1:], lat[:-1])) / 2.0


def ring(value: object, where: str, notes: list[str]) -> Run:
    """The closed ring written as `value`, without repeated vertices; what was mended goes to notes.

    Raises:
        NoAreaError: it has fewer than three distinct positions.
        ShapeError: it is no list of positions on Earth.
    """
    places = positions(value, where, notes)
    closed = len(places) > 1 and _same_place(places[0], places[-1])
    vertex = np.arange(len(places) + (not closed))
    vertex[-1] = 0
    places = places[vertex] if not closed else places
    keep = _distinct(places, where, notes)
    places, vertex = places[keep], vertex[keep]
    if len(places) < 4:
        raise NoAreaError("a ring needs at least 3 distinct positions", where)
    if not closed:
        notes.append(f"{where}: ring closed")
    lon = unwrapped(places, where, notes)
    turns = round(float(lon[-1] - lon[0]) / 360.0)
    return Run(lon, places[:, 1], vertex, where, turns)


def line(value: object, where: str, notes: list[str]) -> Run:
    """The line written as `value`, without repeated vertices.

    Raises:
        ShapeError: it is no list of positions on Earth, or has fewer than two distinct ones.
    """
    places = positions(value, where, notes)
    keep = _distinct(places, where, notes)
    if len(keep) < 2:
        raise ShapeError("a line needs at least 2 distinct positions", where)
    return Run(unwrapped(places[keep], where, notes), places[keep, 1], keep, where)


def positions(value: object, where: str, notes: list[str]) -> Floats:
    """The positions of a list, one row of lon, lat each; heights are dropped.

    Raises:
        ShapeError: not a list of positions, or one of them is not on Earth.
    """
    if not isinstance(value, list | tuple):
        raise ShapeError("not a list of positions [lon, lat]", where)
    if not value:
        raise ShapeError("empty", where)
    if len(value) > MAX_VERTICES:
        raise ShapeError(f"{len(value):,} vertices, at most {MAX_VERTICES:,}", where)
    try:
        table = np.asarray(value)
    except ValueError:  # rows of different lengths
        table = np.empty(0, object)
    if table.ndim != 2 or table.shape[1] < 2 or table.dtype.kind not in "fi":
        return _one_by_one(value, where, notes)
    if table.shape[1] > 2:
        notes.append(f"{where}: heights dropped")
    places: Floats = table[:, :2].astype(np.float64)
    # Written so that not-a-number fails too.
    good = (np.abs(places[:, 0]) <= _MAX_LON) & (np.abs(places[:, 1]) <= 90.0)
    if not good.all():
        bad = int(np.argmin(good))
        position(value[bad], at(where, bad))
    return places


def position(value: object, where: str) -> tuple[float, float]:
    """One lon, lat.

    Raises:
        ShapeError: it is none, or not on Earth.
    """
    if not isinstance(value, list | tuple) or len(value) < 2:
        raise ShapeError("not a position [lon, lat]", where)
    lon, lat = (number(part, where) for part in value[:2])
    if abs(lat) > 90.0:
        swapped = ": are lon and lat swapped?" if abs(lat) <= 180.0 and abs(lon) <= 90.0 else ""
        raise ShapeError(f"latitude {lat:.10g} is beyond 90{swapped}", where)
    if abs(lon) > _MAX_LON:
        raise ShapeError(f"longitude {lon:.10g} is beyond {_MAX_LON:.0f}", where)
    return lon, lat


def number(value: object, where: str) -> float:
    """A finite number.

    Raises:
        ShapeError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ShapeError("not a number", where)
    try:
        result = float(value)
    except OverflowError:
        result = float("inf")
    if not isfinite(result):
        raise ShapeError("not a finite number", where)
    return result


def unwrapped(places: Floats, where: str, notes: list[str]) -> Floats:
    """Longitudes without jumps of more than half a turn; as they are if any is beyond 180.

    A step along the pole, or from -180 to 180 exactly, runs as it is written: so do the edges of
    polar shapes in which RFC 7946's cut has been made.
    """
    lon, lat = places[:, 0], np.abs(places[:, 1])
    if float(np.abs(lon).max()) > 180.0:
        return lon
    step = np.diff(lon)
    jumps = (np.abs(step) > 180.0) & (np.abs(step) < 360.0)
    jumps &= np.minimum(lat[1:], lat[:-1]) < 90.0
    if not jumps.any():
        return lon
    notes.append(f"{where}: taken to cross the antimeridian, at vertex {int(np.argmax(jumps))}")
    turns = np.concatenate(([0.0], np.cumsum(-np.sign(step) * jumps)))
    result: Floats = lon + 360.0 * turns
    return result


def _one_by_one(value: Sequence[object], where: str, notes: list[str]) -> Floats:
    places = [position(item, at(where, i)) for i, item in enumerate(value)]
    notes.append(f"{where}: heights dropped")  # the only good list that numpy takes for ragged
    return np.array(places, np.float64)


def _same_place(a: Floats, b: Floats) -> bool:
    # -180 and 180 are one meridian, and rings round a pole may be closed across it.
    return bool(a[1] == b[1] and (a[0] - b[0]) % 360.0 == 0.0)


def _distinct(places: Floats, where: str, notes: list[str]) -> NDArray[np.int64]:
    fresh = np.ones(len(places), bool)
    fresh[1:] = (places[1:] != places[:-1]).any(axis=1)
    dropped = len(fresh) - int(fresh.sum())
    if dropped:
        notes.append(f"{where}: repeated vertices dropped, {dropped} of them")
    return np.flatnonzero(fresh)
