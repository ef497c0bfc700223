"""The Chicago shuttle's tracks: `x y t` lines, metres in UTM zone 16N and Unix seconds."""

import io
import math
from collections.abc import Iterator

from waymark.replay.mapping import number
from waymark.replay.reading import Row, SkipReason, make_reading
from waymark.replay.times import TimeParser

_ZONE = 16
_MAX_LINE_CHARS = 100_000
# WGS 84 and the transverse Mercator of UTM (EPSG:32616).
_AXIS_M = 6_378_137.0
_FLATTENING = 1 / 298.257223563
_SCALE = 0.9996
_FALSE_EASTING_M = 500_000.0


def rows(text: io.TextIOBase, device: str) -> Iterator[Row]:
    """Every line, numbered from 1."""
    times = TimeParser(["epoch_s"])
    line_number = 0
    while line := text.readline(_MAX_LINE_CHARS):
        line_number += 1
        fields = line.split()
        if len(fields) != 3:
            reason = SkipReason.BROKEN_LINE if fields else SkipReason.EMPTY
            yield Row(line_number, skipped=reason, content=line.rstrip("\r\n"))
            continue
        x_m, y_m = number(fields[0]), number(fields[1])
        values: dict[str, object] = {}
        if x_m is None or y_m is None:
            values = {"lon": fields[0], "lat": fields[1]}
        else:
            lon, lat = lon_lat(x_m, y_m, _ZONE)
            # 1e-7 degrees is 1 cm, finer than the receiver.
            values = {"lon": round(lon, 7), "lat": round(lat, 7)}
        reading = make_reading(device, times(fields[2]), fields[2], values)
        yield Row(line_number, (reading,))


def lon_lat(x_m: float, y_m: float, zone: int) -> tuple[float, float]:
    """Degrees of a point of the northern half of a UTM zone.

    Krueger's series to the third order, good to a millimetre within 3,000 km of the meridian.
    """
    n = _FLATTENING / (2 - _FLATTENING)
    radius_m = _AXIS_M / (1 + n) * (1 + n**2 / 4 + n**4 / 64)
    xi = y_m / (_SCALE * radius_m)
    eta = (x_m - _FALSE_EASTING_M) / (_SCALE * radius_m)
    beta = (
        n / 2 - 2 * n**2 / 3 + 37 * n**3 / 96,
        n**2 / 48 + n**3 / 15,
        17 * n**3 / 480,
    )
    delta = (2 * n - 2 * n**2 / 3 - 2 * n**3, 7 * n**2 / 3 - 8 * n**3 / 5, 56 * n**3 / 15)
    xi0, eta0 = xi, eta
    for order, factor in enumerate(beta, start=1):
        xi0 -= factor * math.sin(2 * order * xi) * math.cosh(2 * order * eta)
        eta0 -= factor * math.cos(2 * order * xi) * math.sinh(2 * order * eta)
    chi = math.asin(math.sin(xi0) / math.cosh(eta0))
    lat = chi
    for order, factor in enumerate(delta, start=1):
        lat += factor * math.sin(2 * order * chi)
    lon = math.atan2(math.sinh(eta0), math.cos(xi0))
    return zone * 6 - 183 + math.degrees(lon), math.degrees(lat)
