"""Positions as GPX, KML and GeoJSON: a track per device, or a point per fix."""

from collections.abc import Iterator
from xml.sax.saxutils import escape

import msgspec
import numpy as np

from api.conventions.answers import feature
from api.exports.batches import Positions
from api.exports.tables import iso_times

_encoder = msgspec.json.Encoder()


class GeoJson:
    """A FeatureCollection of points, each with all that is known of the fix."""

    def __init__(self) -> None:
        self._separator = b""

    def start(self) -> bytes:
        """Up to the first feature."""
        return b'{"type":"FeatureCollection","features":[\n'

    def add(self, batch: Positions) -> bytes:
        """Some features."""
        features = [_encoder.encode(feature(update)) for update in batch.updates()]
        separator, self._separator = self._separator, b",\n"
        return separator + b",\n".join(features)

    def end(self) -> bytes:
        """Behind the last."""
        return b"\n]}\n"


class _Tracks:
    """A document with an element for each device, which may come in several batches."""

    head: str
    foot: str
    close: str

    def __init__(self) -> None:
        self._device: str | None = None

    def start(self) -> bytes:
        """Up to the first device."""
        return self.head.encode()

    def add(self, batch: Positions) -> bytes:
        """Some points."""
        parts = []
        for name, rows in batch.tracks():
            if name != self._device:
                parts += [self.close if self._device is not None else "", self.opened(escape(name))]
                self._device = name
            parts.append(self.points(batch, rows))
        return "".join(parts).encode()

    def end(self) -> bytes:
        """Behind the last point."""
        return ((self.close if self._device is not None else "") + self.foot).encode()

    def opened(self, name: str) -> str:
        """The beginning of a device's element."""
        raise NotImplementedError

    def points(self, batch: Positions, rows: slice) -> str:
        """Points of the open device."""
        raise NotImplementedError


class Gpx(_Tracks):
    """GPX 1.1, speed and course in Garmin's TrackPointExtension v2."""

    head = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<gpx version="1.1" creator="Waymark" xmlns="http://www.topografix.com/GPX/1/1" '
        'xmlns:e="http://www.garmin.com/xmlschemas/TrackPointExtension/v2">\n'
    )
    foot = "</gpx>\n"
    close = "</trkseg></trk>\n"

    def opened(self, name: str) -> str:
        """A track of one segment."""
        return f"<trk><name>{name}</name><trkseg>\n"

    def points(self, batch: Positions, rows: slice) -> str:
        """Some of its points."""
        page = batch.page
        elevation = _elements("<ele>{:.1f}</ele>", page.alt_m[rows])
        speed = _elements("<e:speed>{:.2f}</e:speed>", page.speed_mps[rows])
        course = _elements("<e:course>{:.1f}</e:course>", page.course_deg[rows] % 360)
        return "".join(
            f'<trkpt lat="{lat:.7f}" lon="{lon:.7f}">{ele}<time>{time}</time>'
            + (
                f"<extensions><e:TrackPointExtension>{fast}{toward}</e:TrackPointExtension>"
                "</extensions></trkpt>\n"
                if fast or toward
                else "</trkpt>\n"
            )
            for lon, lat, time, ele, fast, toward in zip(
                page.lon[rows].tolist(),
                page.lat[rows].tolist(),
                iso_times(page.fix_time_us[rows].tolist()),
                elevation,
                speed,
                course,
                strict=True,
            )
        )


class Kml(_Tracks):
    """KML 2.2 with Google's extension for tracks; a track per batch, joined by a MultiTrack."""

    head = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<kml xmlns="http://www.opengis.net/kml/2.2" '
        'xmlns:gx="http://www.google.com/kml/ext/2.2"><Document><name>Waymark</name>\n'
    )
    foot = "</Document></kml>\n"
    close = "</gx:MultiTrack></Placemark>\n"

    def opened(self, name: str) -> str:
        """A placemark that moves."""
        return f"<Placemark><name>{name}</name><gx:MultiTrack><gx:interpolate>1</gx:interpolate>\n"

    def points(self, batch: Positions, rows: slice) -> str:
        """When, and then where: a track has its times first."""
        page = batch.page
        times = iso_times(page.fix_time_us[rows].tolist())
        places = zip(
            page.lon[rows].tolist(),
            page.lat[rows].tolist(),
            np.nan_to_num(page.alt_m[rows]).tolist(),
            strict=True,
        )
        return (
            "<gx:Track>"
            + "".join(f"<when>{time}</when>" for time in times)
            + "".join(
                f"<gx:coord>{lon:.7f} {lat:.7f} {alt:.1f}</gx:coord>" for lon, lat, alt in places
            )
            + "</gx:Track>\n"
        )


def _elements(form: str, values: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> Iterator[str]:
    # NaN is not itself.
    return (form.format(value) if value == value else "" for value in values.tolist())  # noqa: PLR0124
