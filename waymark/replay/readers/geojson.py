"""GeoJSON: points with a time among their properties, lines with `coordTimes`.

The whole document is held in memory. Properties are mapped as the columns of a table are.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import BinaryIO

import msgspec

from tracking.errors import InputError
from waymark.replay.mapping import RowMapper, point_values
from waymark.replay.reading import Reading, Row, SkipReason

MapperFor = Callable[[Sequence[str]], RowMapper]

# The names under which a position enters a record; a colon keeps clear of real properties.
LON, LAT, ALT, TIME = ":lon", ":lat", ":alt", ":t"
# Converters write the times of a line's points under either of these (togeojson: both in turn).
_TIMES = ("coordTimes", "times")


def rows(stream: BinaryIO, name: str, mapper_for: MapperFor) -> Iterator[Row]:
    """Every feature, numbered from 1; a line's points are the readings of one row.

    Raises:
        InputError: the document is not JSON, or not a FeatureCollection or Feature.
    """
    features = _features(stream.read(), name)
    if not features:
        raise InputError(f"{name} holds no features")
    mapper: RowMapper | None = None
    for feature_number, feature in enumerate(features, start=1):
        points = _points(feature)
        if isinstance(points, SkipReason):
            yield Row(feature_number, skipped=points, content=_text(feature))
            continue
        if mapper is None:
            mapper = mapper_for(_columns(features))
        yield _row(feature_number, feature, points, mapper)


def _features(data: bytes, name: str) -> list[object]:
    try:
        document = msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise InputError(f"{name} is not whole JSON: {exc}") from exc
    kind = document.get("type") if isinstance(document, dict) else None
    if kind == "FeatureCollection" and isinstance(document.get("features"), list):
        features: list[object] = document["features"]
        return features
    if kind == "Feature":
        return [document]
    raise InputError(f"{name} is JSON, but neither a GeoJSON FeatureCollection nor a Feature")


def _points(feature: object) -> list[tuple[object, object]] | SkipReason:
    """(position, time or None) of each point; a time of None leaves it to the properties."""
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        return SkipReason.BROKEN_LINE
    geometry = feature.get("geometry")
    if geometry is None:
        return [(None, None)]
    shape = geometry if isinstance(geometry, dict) else {}
    positions = shape.get("coordinates")
    match shape.get("type"):
        case "Point":
            return [(positions, None)]
        case "LineString":
            return _line(positions, _times(feature))
        case "MultiLineString":
            return _line(_flat(positions), _flat(_times(feature)))
        case kind:
            return SkipReason.NOT_A_POSITION if isinstance(kind, str) else SkipReason.BROKEN_LINE


def _line(positions: object, times: object) -> list[tuple[object, object]] | SkipReason:
    if not isinstance(positions, list) or not isinstance(times, list):
        return SkipReason.NOT_A_POSITION  # a line without times is a shape
    if len(positions) != len(times):
        return SkipReason.BROKEN_LINE
    return list(zip(positions, times, strict=True)) or SkipReason.EMPTY


def _times(feature: dict[str, object]) -> object:
    properties = feature.get("properties")
    found = properties if isinstance(properties, dict) else {}
    nested = found.get("coordinateProperties")
    for place in (found, nested if isinstance(nested, dict) else {}):
        for key in _TIMES:
            if key in place:
                return place[key]
    return None


def _flat(nested: object) -> object:
    if not isinstance(nested, list) or not all(isinstance(part, list) for part in nested):
        return nested
    return [item for part in nested for item in part]


def _columns(features: Sequence[object]) -> list[str]:
    """Every property name of the first thousand features, and what their geometries hold."""
    names: dict[str, None] = {LON: None, LAT: None}
    for feature in features[:1_000]:
        if not isinstance(feature, dict):
            continue
        properties = feature.get("properties")
        if isinstance(properties, dict):
            names.update(dict.fromkeys(properties))
        points = _points(feature)
        if not isinstance(points, SkipReason):
            position, time = points[0]
            names.update({ALT: None} if "alt_m" in point_values(position) else {})
            names.update({TIME: None} if time is not None else {})
    return list(names)


def _row(
    feature_number: int,
    feature: object,
    points: Sequence[tuple[object, object]],
    mapper: RowMapper,
) -> Row:
    properties = feature.get("properties") if isinstance(feature, dict) else None
    record: dict[str, object] = dict(properties) if isinstance(properties, dict) else {}
    for key in (*_TIMES, "coordinateProperties"):
        record.pop(key, None)
    readings: list[Reading] = []
    for position, time in points:
        values = point_values(position)
        record[LON], record[LAT] = values.get("lon"), values.get("lat")
        record[ALT] = values.get("alt_m")
        if time is not None:
            record[mapper.column("t")] = time
        row = mapper.row(feature_number, record)
        if row.skipped is not None:
            return replace(row, content=_text(feature))
        readings.extend(row.readings)
    return Row(feature_number, tuple(readings))


def _text(feature: object) -> str:
    return msgspec.json.encode(feature).decode()
