"""Which zones a straight way may pass: boxes around zones in a tree."""

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

from geofence.geodesy import Floats
from geofence.shapes import Shape

Ints = NDArray[np.int64]

# Generously short: a box too large costs a look, one too small a zone.
_M_PER_DEGREE = 110_000.0


class Ways:
    """Boxes around shapes, by their position among `shapes`. Threads may share it."""

    __slots__ = ("_beyond", "_tree")

    def __init__(self, shapes: Sequence[Shape]) -> None:
        bounds = shapely.bounds(np.array([shape.geometry for shape in shapes], object))
        pad_lat = np.array([shape.radius_m for shape in shapes]) / _M_PER_DEGREE
        south, north = bounds[:, 1] - pad_lat, bounds[:, 3] + pad_lat
        narrowest = np.cos(np.radians(np.minimum(np.maximum(np.abs(south), np.abs(north)), 90.0)))
        pad_lon = np.minimum(pad_lat / np.maximum(narrowest, 1e-9), 360.0)
        west, east = bounds[:, 0] - pad_lon, bounds[:, 2] + pad_lon
        self._tree = shapely.STRtree(shapely.box(west, south, east, north))
        self._beyond = bool(len(shapes) and ((west < -180.0) | (east > 180.0)).any())

    def near(self, lon0: Floats, lat0: Floats, lon1: Floats, lat1: Floats) -> tuple[Ints, Ints]:
        """(way, position) of the boxes that the box around each way meets, the short way round."""
        end = lon1 - 360.0 * np.rint((lon1 - lon0) / 360.0)
        around = self._beyond or bool((np.abs(end) > 180.0).any())
        found = [
            self._tree.query(_lines(lon0 + turn, lat0, end + turn, lat1))
            for turn in ((0.0, 360.0, -360.0) if around else (0.0,))
        ]
        way, position = np.concatenate(found, axis=1)
        return way, position


def _lines(lon0: Floats, lat0: Floats, lon1: Floats, lat1: Floats) -> NDArray[np.object_]:
    ends = np.stack([lon0, lat0, lon1, lat1], axis=1).reshape(-1, 2, 2)
    return np.asarray(shapely.linestrings(ends), object)
