"""What exports are asked for, and how the files look."""

from collections.abc import Collection, Sequence
from typing import Any, Literal

from fastapi import Request
from pydantic import Field

from api.document.route import NDJSON, Content, documented
from api.examples import detention
from api.examples import fleet as examples
from api.exports.batches import (
    DETENTION_COLUMNS,
    EVENT_COLUMNS,
    MEASUREMENT_COLUMNS,
    POSITION_COLUMNS,
    TRIP_COLUMNS,
    Kinds,
)
from api.exports.formats import FORMATS, FormatName, TableName, accepted
from api.schemas.detention import WaitedStop
from api.schemas.parameters import MAX_ITEMS, Box, QualityName, Query, Text, Time
from tracking.feed import CloudEvent, PositionUpdate
from tracking.store.measurements import Measurement
from tracking.store.trips import Trip

TABLES: tuple[TableName, ...] = ("ndjson", "csv", "parquet")
TRACKS: tuple[FormatName, ...] = (*TABLES, "geojson", "gpx", "kml")
# Of one device these do not come in pages.
WHOLE: tuple[FormatName, ...] = (*TABLES, "gpx", "kml")


class _Window(Query):
    start: Time | None = Field(None, alias="from", description="First time, included")
    end: Time | None = Field(None, alias="to", description="Last time, excluded")


class _DevicesQuery(_Window):
    device: list[Text] | None = Field(
        None, max_length=MAX_ITEMS, description="Of this device; repeat for several"
    )
    group: Text | None = Field(None, description="Of the devices of this group")


class PositionExportQuery(_DevicesQuery):
    """Which fixes."""

    quality: QualityName | None = Field(
        None, description="Only fixes of this quality; without it all, of tracks `ok` ones"
    )
    bbox: Box | None = Field(None, description="minlon,minlat,maxlon,maxlat")
    format: FormatName | None = Field(None, description="`ndjson` unless Accept says otherwise")


class MeasurementExportQuery(_DevicesQuery):
    """Which values."""

    metric: list[Text] | None = Field(None, max_length=100, description="Repeat for several")
    format: TableName | None = Field(None, description="`ndjson` unless Accept says otherwise")


class EventExportQuery(_Window):
    """Which events."""

    type: list[Text] | None = Field(None, max_length=50, description="Repeat for several")
    device: Text | None = Field(None, description="Events of this device")
    fence: Text | None = Field(None, description="Events this fence raised")
    status: Literal["active", "retracted"] | None = None
    format: TableName | None = Field(None, description="`ndjson` unless Accept says otherwise")


class TripExportQuery(_Window):
    """Which trips."""

    device: Text | None = None
    open: bool | None = Field(None, description="Whether the device is still on its way")
    format: TableName | None = Field(None, description="`ndjson` unless Accept says otherwise")


class DetentionExportQuery(_Window):
    """Which stops: those that were reached within `from` and `to`."""

    party: Text | None = Field(None, description="Of shipments of this shipper, carrier, consignee")
    format: TableName | None = Field(None, description="`ndjson` unless Accept says otherwise")


def format_of(request: Request, given: str | None, names: tuple[str, ...]) -> str:
    """The format the query or the Accept header asks for; the query wins."""
    return given or accepted(request.headers.get("accept", ""), names) or names[0]


def _files(kinds: Kinds, names: Collection[str]) -> list[Content]:
    shown = {
        "ndjson": "{...}",
        "csv": ",".join(kinds),
        "parquet": "PAR1...",
        "geojson": '{"type":"FeatureCollection","features":[...]}',
        "gpx": "<gpx>...</gpx>",
        "kml": "<kml>...</kml>",
    }
    return [
        Content(None, shown[name], FORMATS[name].media_type.partition(";")[0]) for name in names
    ]


def _described(
    operation_id: str, row: type, example: object, kinds: Kinds, names: Sequence[str] = TABLES
) -> dict[str, Any]:
    files = _files(kinds, names[1:])
    return documented(
        operation_id, row, example=example, media_type=NDJSON, also=files, problems=[404]
    )


POSITION_FILES = _files(POSITION_COLUMNS, WHOLE)
POSITIONS = _described(
    "exportPositions", PositionUpdate, examples.POSITION, POSITION_COLUMNS, TRACKS
)
EVENTS = _described("exportEvents", CloudEvent, examples.EVENT, EVENT_COLUMNS)
MEASUREMENTS = _described(
    "exportMeasurements", Measurement, examples.MEASUREMENT, MEASUREMENT_COLUMNS
)
TRIPS = _described("exportTrips", Trip, examples.TRIP, TRIP_COLUMNS)
DETENTION = _described("exportDetention", WaitedStop, detention.WAITED_STOP, DETENTION_COLUMNS)
