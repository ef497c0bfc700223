"""The mappings that come with Waymark, and the choice among them by a table's header."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from tracking.errors import InputError
from waymark.replay.mapping import ALIASES, FIELDS, NUMBERS, EarlierUnit, Mapping


class _Named(NamedTuple):
    mapping: Mapping
    header: frozenset[str]  # columns that give the table away


NAMED: dict[str, _Named] = {
    # Austin's bus fleet. Speed was in miles per hour until the end of 2015, in m/s from then on.
    "capmetro": _Named(
        Mapping(
            name="capmetro",
            columns={
                "device": "vehicle_id",
                "t": "timestamp",
                "lon": "longitude",
                "lat": "latitude",
                "speed": "speed",
            },
            units={"speed": "mps"},
            earlier_speed_unit=EarlierUnit(until="2016-01-01T00:00:00-06:00", unit="mph"),
            time_formats=("iso",),
            attrs=["route_id", "trip_id", "trip_headsign"],
        ),
        frozenset({"vehicle_id", "timestamp", "speed", "route_id", "trip_id", "trip_headsign"}),
    ),
    # Taxi trips, a point every 15 s. TRIP_ID has lost its digits in the usual copy; the start
    # time beside TAXI_ID names a trip.
    "porto": _Named(
        Mapping(
            name="porto",
            columns={"device": "TAXI_ID", "t": "TIMESTAMP", "polyline": "POLYLINE"},
            time_formats=("epoch_s",),
            attrs=["CALL_TYPE", "ORIGIN_CALL", "ORIGIN_STAND", "MISSING_DATA"],
            step_s=15.0,
        ),
        frozenset({"TAXI_ID", "TIMESTAMP", "POLYLINE"}),
    ),
    # Ship positions: the Suez table, the Danish authority's and Marine Cadastre's. UTC.
    # ITU-R M.1371: speed 102.3 kn, course 360 and heading 511 mean "not available".
    "ais": _Named(
        Mapping(
            name="ais",
            columns={
                "device": ["MMSI", "mmsi", "ID"],
                "t": ["ais_pos_timestamp", "BaseDateTime", "# Timestamp", "Timestamp"],
                "lon": ["longitude", "LON", "Longitude"],
                "lat": ["latitude", "LAT", "Latitude"],
                "speed": ["SOG", "sog"],
                "course": ["COG", "cog"],
            },
            units={"speed": "kn"},
            time_formats=("%d/%m/%Y %H:%M", "%d/%m/%Y %H:%M:%S", "iso"),
            timezone="UTC",
            missing={
                "speed": [102.3],
                "course": [360.0],
                "Heading": [511.0],
                "heading": [511.0],
            },
        ),
        frozenset(),
    ),
    "liverpool": _Named(
        Mapping(
            name="liverpool",
            columns={
                "device": "vehicle_id",
                "t": "timestamp",
                "lon": "longitude",
                "lat": "latitude",
                "course": "bearing",
            },
            time_formats=("%Y-%m-%d %H:%M:%S",),
            timezone="Europe/London",
            attrs=["trip_id", "route_name", "direction", "origin", "destination", "operator"],
        ),
        frozenset({"vehicle_id", "timestamp", "bearing", "route_name", "direction", "operator"}),
    ),
}
_AIS_HEADERS = (
    frozenset({"ID", "ais_pos_timestamp"}),
    frozenset({"MMSI", "BaseDateTime"}),
    frozenset({"MMSI", "# Timestamp"}),
)
# Column names that speak for themselves, in the order they are preferred; compared in lower case.
# A bare `id` is not among the devices: as often as not it numbers the rows.
_PLAIN: dict[str, tuple[str, ...]] = {
    "t": (
        "fix_time",
        "t",
        "time",
        "timestamp",
        "datetime",
        "date_time",
        "gps_time",
        "recorded_at",
        "time_utc",
    ),
    "lon": ("lon", "lng", "long", "longitude"),
    "lat": ("lat", "latitude"),
    "device": (
        "device",
        "device_id",
        "vehicle_id",
        "vehicle",
        "tracker_id",
        "tracker",
        "imei",
        "mmsi",
        "taxi_id",
        "bus_id",
        "ship_id",
        "unit_id",
    ),
    "alt": ("alt_m", "alt", "altitude", "ele", "elevation"),
    "speed": ("speed_mps", "speed_kmh", "speed_mph", "speed_kn", "speed"),
    "course": ("course_deg", "course", "bearing", "heading"),
    "accuracy": ("accuracy_m", "accuracy", "hacc"),
    "battery": ("battery",),
}


def choose(columns: Sequence[str]) -> Mapping:
    """The named mapping whose header this is, else one guessed from plain column names."""
    present = set(columns)
    for named in NAMED.values():
        if named.header and named.header <= present:
            return named.mapping
    if any(header <= present for header in _AIS_HEADERS):
        return NAMED["ais"].mapping
    return _plain(columns)


def load(name: str) -> Mapping:
    """The mapping called `name`, or the one in the JSON file `name`.

    Raises:
        InputError: neither exists, or the file is no mapping.
    """
    if name in NAMED:
        return NAMED[name].mapping
    path = Path(name)
    if path.suffix != ".json" and not path.is_file():
        raise InputError(
            f"no mapping {name!r}: one of {', '.join(NAMED)}, or a .json file", field="mapping"
        )
    try:
        mapping = msgspec.json.decode(path.read_bytes(), type=Mapping)
    except OSError as exc:
        raise InputError(f"{name}: {exc.strerror}", field="mapping") from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise InputError(f"{name} is no mapping: {exc}", field="mapping") from exc
    return with_columns(mapping, mapping.columns, mapping.units)


def with_columns(
    mapping: Mapping, columns: dict[str, str | list[str]], units: dict[str, str]
) -> Mapping:
    """`mapping` with these columns and units on top; a unit in a field's name is split off.

    Raises:
        InputError: a field does not exist.
    """
    merged, merged_units = dict(mapping.columns), dict(mapping.units)
    for given, column in columns.items():
        field, unit = ALIASES.get(given, (given, None))
        if field not in FIELDS:
            raise InputError(
                f"there is no field {given!r}: one of {', '.join(FIELDS)}", field="column"
            )
        if given != field:
            merged.pop(given, None)
        merged[field] = column
        if unit is not None:
            merged_units[field] = unit
    for field, unit in units.items():
        if field not in NUMBERS:
            raise InputError(f"{field!r} has no unit: one of {', '.join(NUMBERS)}", field="unit")
        merged_units[field] = unit
    return msgspec.structs.replace(mapping, columns=merged, units=merged_units)


def _plain(columns: Sequence[str]) -> Mapping:
    by_lower = {name.lower(): name for name in reversed(columns)}
    found: dict[str, str | list[str]] = {}
    units: dict[str, str] = {}
    for field, names in _PLAIN.items():
        name = next((n for n in names if n in by_lower), None)
        if name is not None:
            found[field] = by_lower[name]
            if name in ALIASES:
                units[field] = ALIASES[name][1]
    return Mapping(name="plain", columns=found, units=units)
