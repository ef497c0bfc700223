"""Metres: the local plane at a fix, and distances over ground to a circle's centre."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from geofence.geodesy import Floats, chords_m, ecef

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# WGS 84, EPSG:7030.
SEMI_MAJOR_M = 6_378_137.0
FLATTENING = 1 / 298.257223563
SEMI_MINOR_M = SEMI_MAJOR_M * (1 - FLATTENING)
_ECCENTRICITY_2 = FLATTENING * (2 - FLATTENING)

# Up to here the series from chord to arc is right to 0.05 mm whatever the direction.
SERIES_MAX_M = 20_000.0
# Vincenty's iteration gains a factor of 300 each time. A fixed number, so that the answer for a
# pair does not depend on the pairs beside it.
_VINCENTY_ROUNDS = 8


def metres_per_degree(lat: Floats) -> tuple[Floats, Floats]:
    """Of longitude and of latitude at `lat`, by the WGS 84 radii of curvature."""
    phi = np.radians(lat)
    sin_phi = np.sin(phi)
    w_2 = 1.0 - _ECCENTRICITY_2 * sin_phi * sin_phi
    normal = SEMI_MAJOR_M / np.sqrt(w_2)
    kx = np.radians(normal) * np.cos(phi)
    ky = np.radians(normal) * ((1.0 - _ECCENTRICITY_2) / w_2)
    return kx, ky


def gaussian_radius_m(lat: Floats) -> Floats:
    """The radius of the sphere that fits the ellipsoid best at `lat`."""
    sin_phi = np.sin(np.radians(lat))
    result: Floats = SEMI_MINOR_M / (1.0 - _ECCENTRICITY_2 * sin_phi * sin_phi)
    return result


_Metres = TypeVar("_Metres", float, Floats)


def chord_to_arc(chord: _Metres, radius: _Metres) -> _Metres:
    """The arc over a chord up to `SERIES_MAX_M` of a sphere."""
    ratio_2 = (chord / radius) * (chord / radius)
    return chord * (1.0 + ratio_2 * (1 / 24 + ratio_2 * (3 / 640)))


def distances_m(lon0: Floats, lat0: Floats, lon1: Floats, lat1: Floats) -> Floats:
    """Over ground, the shortest way on the ellipsoid; within 0.1 mm for less than 19,000 km."""
    chord = chords_m(*ecef(lon0, lat0), *ecef(lon1, lat1))
    radius = gaussian_radius_m(lat0)
    arc = chord_to_arc(chord, radius)
    far = np.flatnonzero(chord > SERIES_MAX_M)
    if len(far):
        arc[far] = _vincenty_m(lon0[far], lat0[far], lon1[far], lat1[far])
    return arc


def _vincenty_m(lon0: Floats, lat0: Floats, lon1: Floats, lat1: Floats) -> Floats:
    u0, u1 = (np.arctan((1 - FLATTENING) * np.tan(np.radians(lat))) for lat in (lat0, lat1))
    sin_0, cos_0, sin_1, cos_1 = np.sin(u0), np.cos(u0), np.sin(u1), np.cos(u1)
    along = np.radians(np.remainder(lon1 - lon0 + 180.0, 360.0) - 180.0)
    lam = along
    for _ in range(_VINCENTY_ROUNDS):
        sin_lam, cos_lam = np.sin(lam), np.cos(lam)
        sin_sigma = np.hypot(cos_1 * sin_lam, cos_0 * sin_1 - sin_0 * cos_1 * cos_lam)
        cos_sigma = sin_0 * sin_1 + cos_0 * cos_1 * cos_lam
        sigma = np.arctan2(sin_sigma, cos_sigma)
        sin_a = cos_0 * cos_1 * sin_lam / np.maximum(sin_sigma, 1e-300)
        cos_a_2 = 1.0 - sin_a * sin_a
        cos_2m = cos_sigma - 2.0 * sin_0 * sin_1 / np.maximum(cos_a_2, 1e-12)
        c = FLATTENING / 16 * cos_a_2 * (4 + FLATTENING * (4 - 3 * cos_a_2))
        turn = cos_2m + c * cos_sigma * (2 * cos_2m * cos_2m - 1)
        lam = along + (1 - c) * FLATTENING * sin_a * (sigma + c * sin_sigma * turn)
    u_2 = cos_a_2 * (SEMI_MAJOR_M**2 / SEMI_MINOR_M**2 - 1)
    a = 1 + u_2 / 16384 * (4096 + u_2 * (-768 + u_2 * (320 - 175 * u_2)))
    b = u_2 / 1024 * (256 + u_2 * (-128 + u_2 * (74 - 47 * u_2)))
    inner = cos_sigma * (2 * cos_2m * cos_2m - 1)
    outer = b / 6 * cos_2m * (4 * sin_sigma * sin_sigma - 3) * (4 * cos_2m * cos_2m - 3)
    delta = b * sin_sigma * (cos_2m + b / 4 * (inner - outer))
    result: Floats = SEMI_MINOR_M * a * (sigma - delta)
    return result
