"""Rows on their way into a file: as lines of JSON, and as columns."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, Protocol

import msgspec
import numpy as np

from api.schemas.detention import WaitedStop
from tracking.feed import CloudEvent, PositionUpdate
from tracking.quality import Quality
from tracking.store.measurements import MeasurementPage
from tracking.store.position_pages import PositionPage
from tracking.store.trips import Trip
from tracking.times import to_us

# What a column holds. Times are microseconds since the epoch, UTC; NaN is a missing number, None a
# missing anything else.
ColumnKind = Literal["text", "json", "time", "number", "integer", "flag"]
Kinds = Mapping[str, ColumnKind]
Columns = Mapping[str, Any]

POSITION_COLUMNS: Kinds = {
    "device": "text", "fix_time": "time", "received_at": "time", "lon": "number",
    "lat": "number", "alt_m": "number", "speed_mps": "number", "course_deg": "number",
    "accuracy_m": "number", "battery": "number", "quality": "text", "h3": "text",
    "attrs": "json",
}  # fmt: skip
MEASUREMENT_COLUMNS: Kinds = {
    "device": "text", "metric": "text", "fix_time": "time", "received_at": "time",
    "value": "number",
}  # fmt: skip
EVENT_COLUMNS: Kinds = {
    "cursor": "integer", "id": "text", "type": "text", "subject": "text", "time": "time",
    "recorded_at": "time", "revision": "integer", "status": "text", "late": "flag",
    "data": "json",
}  # fmt: skip
TRIP_COLUMNS: Kinds = {
    "id": "text", "device": "text", "started_at": "time", "ended_at": "time", "open": "flag",
    "start_lon": "number", "start_lat": "number", "end_lon": "number", "end_lat": "number",
    "distance_m": "number", "duration_s": "number", "max_speed_mps": "number",
    "late": "flag", "amended": "flag",
}  # fmt: skip

DETENTION_COLUMNS: Kinds = {
    "shipment": "text", "order_ref": "text", "stop": "integer", "kind": "text", "name": "text",
    "arrived_at": "time", "left_at": "time", "there_s": "number", "waited_s": "number",
    "free_s": "number", "billable_s": "number", "billable_min": "integer", "started_at": "time",
    "still_there": "flag",
}  # fmt: skip

_encoder = msgspec.json.Encoder()
_LABELS = np.array([quality.label for quality in Quality])
# As `tracking.feed` rounds them.
_DECIMALS = {
    "lon": 7, "lat": 7, "alt_m": 1, "speed_mps": 2, "course_deg": 1, "accuracy_m": 1, "battery": 3,
}  # fmt: skip


class Batch(Protocol):
    """Some rows of one kind."""

    def lines(self) -> bytes:
        """Each as the api tells it, one line of JSON."""

    def columns(self) -> Columns:
        """The same by column, as the kind declares them."""


@dataclass(frozen=True, slots=True)
class Positions:
    """Fixes by device and in order; `names` are those of the devices they count."""

    page: PositionPage
    names: Sequence[str]

    def lines(self) -> bytes:
        """One line of JSON each."""
        return _encoder.encode_lines(self.updates())

    def updates(self) -> list[PositionUpdate]:
        """As the api tells them."""
        return self.page.updates(self.names)

    def columns(self) -> Columns:
        """By column."""
        page = self.page
        return {
            "device": [self.names[number] for number in page.device.tolist()],
            "fix_time": page.fix_time_us,
            "received_at": page.received_us,
            **{name: np.round(getattr(page, name), n) for name, n in _DECIMALS.items()},
            "quality": _LABELS[page.quality],
            "h3": [f"{cell:x}" for cell in page.h3.view(np.uint64).tolist()],
            "attrs": page.attrs or [None] * len(page),
        }

    def tracks(self) -> Iterator[tuple[str, slice]]:
        """The rows of each device, as far as they are in here."""
        device = self.page.device
        starts = [0, *(np.flatnonzero(np.diff(device)) + 1).tolist(), len(device)]
        for start, end in pairwise(starts):
            yield self.names[int(device[start])], slice(start, end)


@dataclass(frozen=True, slots=True)
class Measurements:
    """Values of sensors by device and in order."""

    page: MeasurementPage
    names: Sequence[str]

    def lines(self) -> bytes:
        """One line of JSON each."""
        return _encoder.encode_lines(self.page.measurements(self.names))

    def columns(self) -> Columns:
        """By column."""
        return {
            "device": [self.names[number] for number in self.page.device.tolist()],
            "metric": self.page.metric,
            "fix_time": self.page.fix_time_us,
            "received_at": self.page.received_us,
            "value": self.page.value,
        }


@dataclass(frozen=True, slots=True)
class Events:
    """Events in the order of their cursors."""

    events: Sequence[CloudEvent]

    def lines(self) -> bytes:
        """One line of JSON each."""
        return _encoder.encode_lines(self.events)

    def columns(self) -> Columns:
        """By column."""
        return _struct_columns(self.events, EVENT_COLUMNS)


@dataclass(frozen=True, slots=True)
class Trips:
    """Trips in the order of their starts."""

    trips: Sequence[Trip]

    def lines(self) -> bytes:
        """One line of JSON each."""
        return _encoder.encode_lines(self.trips)

    def columns(self) -> Columns:
        """By column."""
        return _struct_columns(self.trips, TRIP_COLUMNS)


@dataclass(frozen=True, slots=True)
class WaitedStops:
    """Stops by their shipments."""

    stops: Sequence[WaitedStop]

    def lines(self) -> bytes:
        """One line of JSON each."""
        return _encoder.encode_lines(self.stops)

    def columns(self) -> Columns:
        """By column."""
        return _struct_columns(self.stops, DETENTION_COLUMNS)


def _struct_columns(rows: Sequence[object], kinds: Kinds) -> Columns:
    columns: dict[str, Any] = {}
    for name, kind in kinds.items():
        values = [getattr(row, name) for row in rows]
        if kind == "time":
            values = [None if value is None else to_us(value) for value in values]
        elif kind == "json":
            values = [_encoder.encode(value).decode() for value in values]
        columns[name] = values
    return columns
