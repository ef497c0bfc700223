"""Positions as earth-centred WGS 84 coordinates, so that distances need no trigonometry.

A place is turned into (x, y, z) metres once per fix, vectorised. The chord between two such
points differs from the geodesic by d^3 / (24 R^2): 1 mm over 1 km, 1 m over 100 km. Chords use
only -, *, + and sqrt, which IEEE 754 fixes to the last bit, so the scalar fold and its vectorised
path agree exactly, whatever the machine.
"""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# WGS 84, EPSG:7030.
_SEMI_MAJOR_M = 6_378_137.0
_ECCENTRICITY_2 = 0.00669437999014


def ecef(lon: Floats, lat: Floats) -> tuple[Floats, Floats, Floats]:
    """Earth-centred x, y, z in metres, at height 0, of degrees `lon`, `lat`."""
    phi, lam = np.radians(lat), np.radians(lon)
    sin_phi, cos_phi = np.sin(phi), np.cos(phi)
    normal = _SEMI_MAJOR_M / np.sqrt(1.0 - _ECCENTRICITY_2 * sin_phi * sin_phi)
    return (
        normal * cos_phi * np.cos(lam),
        normal * cos_phi * np.sin(lam),
        normal * (1.0 - _ECCENTRICITY_2) * sin_phi,
    )


def chord_m(  # noqa: PLR0917 -- two points
    ax: float, ay: float, az: float, bx: float, by: float, bz: float
) -> float:
    """Straight distance between two earth-centred points, metres; the order of sums is fixed."""
    dx, dy, dz = ax - bx, ay - by, az - bz
    return sqrt(dx * dx + dy * dy + dz * dz)


def chords_m(  # noqa: PLR0917 -- two points
    ax: Floats, ay: Floats, az: Floats, bx: Floats, by: Floats, bz: Floats
) -> Floats:
    """`chord_m` over arrays, equal to it bit for bit."""
    dx, dy, dz = ax - bx, ay - by, az - bz
    result: Floats = np.sqrt(dx * dx + dy * dy + dz * dz)
    return result
