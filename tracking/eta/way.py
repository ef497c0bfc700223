"""Ways as the pace profile knows them: from places to cells, headings and metres."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from h3.api import numpy_int as h3
from numpy.typing import NDArray

from geofence.geodesy import chords_m, ecef
from tracking.eta.nearby import Place
from tracking.eta.pace import RESOLUTION, Path, headings_of

Floats = NDArray[np.float64]

# A cell is 130 m wide; with more pieces than that a forecast costs more and is no better.
_LONGEST_M = 100.0
_MOST = 1_000
# A heading is that of the way so far before and behind, or noise of the receiver would turn it.
_HEADING_M = 50.0


class Way(NamedTuple):
    """A way through places, planned or driven, cut into pieces of one length.

    Attributes:
        path: the pieces.
        edges_m: where they begin, and where the last one ends.
        along_m: how far along each of the places is.
    """

    path: Path
    edges_m: Floats
    along_m: Floats

    @property
    def length_m(self) -> float:
        """From the first place to the last."""
        return float(self.edges_m[-1])

    def piece(self, along_m: float) -> int:
        """The piece in which a point that far along lies; behind the end the last one."""
        found = int(np.searchsorted(self.edges_m, along_m, side="right")) - 1
        return min(max(found, 0), len(self.path.cells) - 1)

    def between(self, from_m: float, to_m: float) -> Path:
        """The pieces from there to there, the first and the last cut to what is left of them."""
        first, last = self.piece(from_m), self.piece(to_m)
        edges_m = np.clip(self.edges_m[first : last + 2], from_m, max(from_m, to_m))
        return Path(
            self.path.cells[first : last + 1],
            self.path.headings[first : last + 1],
            np.diff(edges_m),
        )

    def spread(self, at_places: Floats) -> Floats:
        """By how much a quantity that is known at the places, as the time, grew in each piece.

        What it grew by before the first place was left is nobody's.
        """
        return np.diff(np.interp(self.edges_m, self.along_m, at_places))


def way_of(places: Sequence[Place] | Floats) -> Way:
    """The way through [lon, lat], one or more; straight in degrees from each to the next."""
    degrees = np.asarray(places, np.float64).reshape(-1, 2)
    # East of the antimeridian is not half around the world.
    lon, lat = np.unwrap(degrees[:, 0], period=360.0), degrees[:, 1]
    x, y, z = ecef(lon, lat)
    steps_m = chords_m(x[:-1], y[:-1], z[:-1], x[1:], y[1:], z[1:])
    along_m = np.concatenate([[0.0], np.cumsum(steps_m)])
    length_m = float(along_m[-1])
    n = min(max(math.ceil(length_m / _LONGEST_M), 1), _MOST)
    edges_m = np.linspace(0.0, length_m, n + 1)

    def at(metres: Floats) -> tuple[Floats, Floats]:
        return np.interp(metres, along_m, lon), np.interp(metres, along_m, lat)

    middles_m = (edges_m[:-1] + edges_m[1:]) / 2
    middle_lon, middle_lat = at(middles_m)
    from_lon, from_lat = at(middles_m - _HEADING_M)
    to_lon, to_lat = at(middles_m + _HEADING_M)
    east = (to_lon - from_lon) * np.cos(np.radians(middle_lat))
    to_cell = h3.latlng_to_cell
    cells = [
        to_cell(*place, RESOLUTION)
        for place in zip(middle_lat.tolist(), middle_lon.tolist(), strict=True)
    ]
    path = Path(np.array(cells, np.int64), headings_of(east, to_lat - from_lat), np.diff(edges_m))
    return Way(path, edges_m, along_m)
