"""One point and some circles: plain Python, for a round of numpy calls costs 15 us."""

from collections.abc import Callable, Sequence
from math import cos, radians, sin, sqrt

from geofence.geodesy import Floats, ecef
from geofence.metric import SERIES_MAX_M, chord_to_arc, gaussian_radius_m

# Python's and numpy's sine may differ in the last bit, and both paths must decide alike: nearer
# to the border than this numpy does.
_DOUBT_M = 1e-3

_SEMI_MAJOR_M = 6_378_137.0
_ECCENTRICITY_2 = 0.00669437999014

# For a point and slots of circles: those it is in, and those to be asked exactly.
Discs = Callable[[float, float, Sequence[int]], tuple[list[int], Sequence[int]]]


def discs_of(centre: Floats, radius_m: Floats) -> Discs:
    """Circles by slot; the radius of a slot that has another shape is NaN: ask it exactly."""
    lon, lat = centre[:, 0].copy(), centre[:, 1].copy()
    xs, ys, zs = (column.data for column in ecef(lon, lat))
    spheres, radii = gaussian_radius_m(lat).data, radius_m.data

    def sift(lon: float, lat: float, slots: Sequence[int]) -> tuple[list[int], list[int]]:
        phi, lam = radians(lat), radians(lon)
        sin_phi, cos_phi = sin(phi), cos(phi)
        normal = _SEMI_MAJOR_M / sqrt(1.0 - _ECCENTRICITY_2 * sin_phi * sin_phi)
        x, y = normal * cos_phi * cos(lam), normal * cos_phi * sin(lam)
        z = normal * (1.0 - _ECCENTRICITY_2) * sin_phi
        within: list[int] = []
        doubtful: list[int] = []
        for slot in slots:
            dx, dy, dz = xs[slot] - x, ys[slot] - y, zs[slot] - z
            chord = sqrt(dx * dx + dy * dy + dz * dz)
            depth_m = radii[slot] - chord_to_arc(chord, spheres[slot])
            if chord <= SERIES_MAX_M and depth_m > _DOUBT_M:
                within.append(slot)
            elif not (chord <= SERIES_MAX_M and depth_m < -_DOUBT_M):
                doubtful.append(slot)
        return within, doubtful

    return sift
