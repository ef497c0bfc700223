"""GPX 1.0 and 1.1: track points and waypoints, streamed; route points are plans, not fixes."""

from collections.abc import Iterator
from typing import BinaryIO
from xml.parsers import expat

from tracking.errors import InputError
from waymark.replay.mapping import number
from waymark.replay.reading import Row, SkipReason, make_reading
from waymark.replay.times import TimeParser

_CHUNK_BYTES = 65_536
_POINTS = {"trkpt", "wpt", "rtept"}
# GPX 1.0 has speed (m/s) and course in the point, 1.1 in Garmin's TrackPointExtension v2.
_VALUES = {"ele": "alt_m", "speed": "speed_mps", "course": "course_deg"}
_NOT_ATTRS = {"time", "extensions", "link"}


def rows(stream: BinaryIO, name: str, device: str) -> Iterator[Row]:
    """Every point in document order, numbered from 1. Times without a zone are UTC, by the format.

    Raises:
        InputError: the XML is malformed or has a document type (which GPX never needs).
    """
    document = _Document(name, device)
    # Driven directly, because only expat's own handler can refuse a DTD before it takes effect.
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = document.refuse_doctype
    parser.StartElementHandler = document.start
    parser.EndElementHandler = document.end
    parser.CharacterDataHandler = document.text
    try:
        while chunk := stream.read(_CHUNK_BYTES):
            parser.Parse(chunk, False)  # noqa: FBT003  -- expat takes it by position
            yield from document.take()
        parser.Parse(b"", True)  # noqa: FBT003  -- as above
    except expat.ExpatError as exc:
        yield from document.take()
        raise InputError(
            f"{name} is not well-formed XML ({exc}); the points before that were read"
        ) from exc
    yield from document.take()


class _Document:
    """Collects points from expat's calls."""

    def __init__(self, name: str, device: str) -> None:
        self._name = name
        self._device = device
        self._times = TimeParser(["iso"])
        self._path: list[str] = []
        self._text: list[str] = []
        self._track = ""
        self._point: dict[str, str] | None = None
        self._rows: list[Row] = []
        self._points = 0

    def take(self) -> list[Row]:
        rows, self._rows = self._rows, []
        return rows

    def refuse_doctype(self, *_: object) -> None:
        raise InputError(
            f"{self._name} has a document type (<!DOCTYPE>): remove it, GPX needs none"
        )

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        local = tag.rpartition(" ")[2]
        self._path.append(local)
        self._text = []
        if local in _POINTS:
            self._point = {key: attributes[key] for key in ("lon", "lat") if key in attributes}

    def text(self, data: str) -> None:
        self._text.append(data)

    def end(self, tag: str) -> None:
        local = tag.rpartition(" ")[2]
        self._path.pop()
        text = "".join(self._text).strip()
        self._text = []
        if local in _POINTS:
            self._finish(local)
        elif self._point is not None:
            if text:
                self._point.setdefault(local, text)
        elif local == "name" and self._path[-1:] == ["trk"]:
            self._track = text
        elif local == "trk":
            self._track = ""

    def _finish(self, kind: str) -> None:
        self._points += 1
        point, self._point = self._point or {}, None
        if kind == "rtept":
            self._rows.append(
                Row(self._points, skipped=SkipReason.NOT_A_POSITION, content=f"rtept {point}")
            )
            return
        values: dict[str, object] = {}
        attrs: dict[str, object] = {"track": self._track} if self._track else {}
        for key, text in point.items():
            field = key if key in {"lon", "lat"} else _VALUES.get(key)
            if field is not None:
                known = number(text)
                values[field] = text if known is None else known
            elif key not in _NOT_ATTRS:
                attrs[key] = text
        raw_time = point.get("time")
        time_us = None if raw_time is None else self._times(raw_time)
        reading = make_reading(self._device, time_us, raw_time, values, attrs)
        self._rows.append(Row(self._points, (reading,)))
