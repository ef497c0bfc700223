"""How large polygons are: areas on the ellipsoid, and the largest circle inside."""

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from geofence.geodesy import Floats
from geofence.metric import SEMI_MAJOR_M, metres_per_degree

# WGS 84, EPSG:7030.
ECCENTRICITY_2 = 0.00669437999014
# A sphere of the ellipsoid's mean radius; distances on it are within 0.6 % of the true ones.
MEAN_RADIUS_M = 6_371_008.8
_GAUSS_X, _GAUSS_W = np.polynomial.legendre.leggauss(6)

Geometries = NDArray[np.object_]


def polygon_area_m2(geometry: BaseGeometry) -> float:
    """Area of a valid Polygon or MultiPolygon whose edges are straight in lon, lat.

    Exact to about 1e-6 of it for edges of up to 90 degrees of latitude.
    """
    rings = shapely.get_rings(shapely.get_parts(shapely.orient_polygons(geometry)))
    places, ring = shapely.get_coordinates(rings, return_index=True)
    inner = ring[1:] == ring[:-1]
    a, b = places[:-1][inner], places[1:][inner]
    # The area between an edge and the equator: its longitudes' width times the mean of the area
    # of a strip one radian wide up to its latitude.
    lat = a[:, 1, None] + (b - a)[:, 1, None] * (_GAUSS_X + 1.0) / 2.0
    strip = _strip_m2(lat) @ _GAUSS_W / 2.0
    return abs(float(np.dot(np.radians(b[:, 0] - a[:, 0]), strip)))


def polygon_inradii_m(geometries: Geometries) -> Floats:
    """Radius of the largest circle inside each polygon, in the plane of its middle latitude.

    At most 2 % too small for the search's tolerance, and wrong by the plane's own distortion: 1 %
    for a shape 100 km tall at 45 degrees, so for those that need it least.
    """
    bounds = shapely.bounds(geometries)
    east, north = metres_per_degree((bounds[:, 1] + bounds[:, 3]) / 2.0)
    places, owner = shapely.get_coordinates(geometries, return_index=True)
    origin = bounds[:, :2]
    metres = (places - origin[owner]) * np.column_stack((east, north))[owner]
    flat = shapely.set_coordinates(geometries.copy(), metres)
    # No circle in a shape is smaller than area / perimeter, so this is 2 % of it at most.
    tolerance = 0.02 * shapely.area(flat) / np.maximum(shapely.length(flat), 1e-9)
    result: Floats = shapely.length(shapely.maximum_inscribed_circle(flat, tolerance))
    return result


def _strip_m2(lat: Floats) -> Floats:
    sine = np.sin(np.radians(lat))
    e = np.sqrt(ECCENTRICITY_2)
    polar_2 = SEMI_MAJOR_M**2 * (1.0 - ECCENTRICITY_2)
    log = np.log((1.0 + e * sine) / (1.0 - e * sine)) / (2.0 * e)
    result: Floats = polar_2 / 2.0 * (sine / (1.0 - ECCENTRICITY_2 * sine**2) + log)
    return result
