"""Ways of an OpenStreetMap extract (`.osm.pbf`), as far as the study needs them.

The format: https://wiki.openstreetmap.org/wiki/PBF_Format.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_DEGREES = 1e-9


class Way(NamedTuple):
    """A line of a map and its tags."""

    nodes: list[int]
    tags: dict[str, str]


class Extract(NamedTuple):
    """The nodes of an extract as (lon, lat), and its ways."""

    nodes: dict[int, tuple[float, float]]
    ways: list[Way]


def read_extract(path: Path) -> Extract:
    """All nodes and ways."""
    extract = Extract({}, [])
    data, at = path.read_bytes(), 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        header = dict(_fields(data[at + 4 : at + 4 + size]))
        at += 4 + size
        blob = dict(_fields(data[at : at + _int(header[3])]))
        at += _int(header[3])
        if header[1] == b"OSMData":
            _read_block(zlib.decompress(_bytes(blob[3])), extract)
    return extract


def _read_block(block: bytes, extract: Extract) -> None:
    fields = list(_fields(block))
    numbers = {key: value for key, value in fields if isinstance(value, int)}
    step, lat0, lon0 = numbers.get(17, 100), numbers.get(19, 0), numbers.get(20, 0)
    strings: list[str] = []
    for key, value in fields:
        if key == 1:
            strings = [_bytes(text).decode() for _, text in _fields(_bytes(value))]
    for _, group in (field for field in fields if field[0] == 2):
        for key, value in _fields(_bytes(group)):
            if key == 2:
                dense = dict(_fields(_bytes(value)))
                lats, lons = _deltas(_bytes(dense[8])), _deltas(_bytes(dense[9]))
                for node, lat, lon in zip(_deltas(_bytes(dense[1])), lats, lons, strict=True):
                    place = ((lon0 + step * lon) * _DEGREES, (lat0 + step * lat) * _DEGREES)
                    extract.nodes[node] = place
            elif key == 3:
                way = dict(_fields(_bytes(value)))
                keys = _varints(_bytes(way.get(2, b"")))
                values = _varints(_bytes(way.get(3, b"")))
                tags = {strings[k]: strings[v] for k, v in zip(keys, values, strict=True)}
                extract.ways.append(Way(list(_deltas(_bytes(way.get(8, b"")))), tags))


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 0:
            number, at = _varint(message, at)
            yield tag >> 3, number
            continue
        size, at = _varint(message, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
        yield tag >> 3, message[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _varints(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def _deltas(data: bytes) -> Iterator[int]:
    """Packed signed differences, summed up."""
    total = 0
    for value in _varints(data):
        total += (value >> 1) ^ -(value & 1)
        yield total


def _int(value: int | bytes) -> int:
    assert isinstance(value, int)
    return value


def _bytes(value: int | bytes) -> bytes:
    assert isinstance(value, bytes)
    return value
