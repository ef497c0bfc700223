"""How the columns of a table become the fields of a reading: names, units, zones, sentinels."""

import math
from collections.abc import Mapping as Record
from collections.abc import Sequence
from typing import Literal

import msgspec

from tracking.errors import InputError
from waymark.replay.reading import Reading, Row, SkipReason, device_name, make_reading
from waymark.replay.times import TimeParser, zone

FIELDS = {
    "t": "fix time",
    "lon": "longitude",
    "lat": "latitude",
    "polyline": "[[lon, lat], ...] from `t` on, one point every `step_s`",
    "device": "device name",
    "alt": "altitude",
    "speed": "speed",
    "course": "course over ground",
    "accuracy": "horizontal accuracy",
    "battery": "battery",
}
# For each number: its name in a message, and what each unit is worth in the message's unit.
NUMBERS: dict[str, tuple[str, dict[str, float]]] = {
    "lon": ("lon", {"deg": 1.0}),
    "lat": ("lat", {"deg": 1.0}),
    "alt": ("alt_m", {"m": 1.0, "ft": 0.3048}),
    "speed": (
        "speed_mps",
        {"mps": 1.0, "kmh": 1 / 3.6, "mph": 0.44704, "kn": 1852 / 3600},
    ),
    "course": ("course_deg", {"deg": 1.0}),
    "accuracy": ("accuracy_m", {"m": 1.0, "ft": 0.3048}),
    "battery": ("battery", {"fraction": 1.0, "percent": 0.01}),
}
# A unit may be part of the field's name: `--column speed_kmh=V`.
ALIASES = {
    f"{field}_{unit}": (field, unit) for field, (_, units) in NUMBERS.items() for unit in units
}
_NO_VALUE = frozenset({"", "-", "na", "n/a", "nan", "null", "none", "\\n"})


class EarlierUnit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Before `until` (ISO 8601 with offset) the speed column was in `unit`."""

    until: str
    unit: Literal["mps", "kmh", "mph", "kn"]


class Mapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table's reading, as `--mapping FILE.json` gives it.

    `columns` names for each field the column, or several of which the first present one counts.
    `missing` lists numbers that mean "no value", by field or attribute, in the column's own unit.
    `attrs` lists the columns kept as attributes, by their names as found; None keeps every column
    not otherwise used. `device` names the one device of a table that has no such column.
    """

    name: str = "given"
    columns: dict[str, str | list[str]] = {}
    units: dict[str, str] = {}
    earlier_speed_unit: EarlierUnit | None = None
    time_formats: tuple[str, ...] = ("auto",)
    timezone: str | None = None
    missing: dict[str, list[float]] = {}
    attrs: list[str] | None = None
    step_s: float = 15.0
    device: str | None = None


class RowMapper:
    """A mapping bound to one table's columns; turns records into rows."""

    def __init__(self, mapping: Mapping, columns: Sequence[str]) -> None:
        self._mapping = mapping
        self._column = bind(mapping, columns)
        self.times = TimeParser(mapping.time_formats, zone(mapping.timezone or "UTC"))
        self._missing = {name: frozenset(values) for name, values in mapping.missing.items()}
        self._scales = {
            field: _scale(field, mapping.units.get(field))
            for field in NUMBERS
            if field in self._column
        }
        self._earlier_us, self._earlier_scale = _earlier(mapping.earlier_speed_unit)
        used = set(self._column.values())
        wanted = mapping.attrs if mapping.attrs is not None else [c for c in columns if c]
        self._attrs = [c for c in wanted if c in columns and c not in used]

    def column(self, field: str) -> str:
        """The column bound to `field`."""
        return self._column[field]

    def row(self, row_number: int, record: Record[str, object]) -> Row:
        """Map one record; the caller adds the text of a row that is skipped."""
        device = self._device(record)
        if not device:
            empty = all(is_missing(value) for value in record.values())
            return Row(row_number, skipped=SkipReason.EMPTY if empty else SkipReason.NO_DEVICE)
        if "polyline" in self._column:
            return self._trip(row_number, device, record)
        return Row(row_number, (self._reading(device, record),))

    def _device(self, record: Record[str, object]) -> str:
        if self._mapping.device is not None:
            return device_name(self._mapping.device)
        value = record.get(self._column["device"])
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return "" if is_missing(value) else device_name(str(value))

    def _reading(self, device: str, record: Record[str, object]) -> Reading:
        time_us, raw_time = self._time(record)
        values: dict[str, object] = {}
        for field, scale in self._scales.items():
            value = record.get(self._column[field])
            if is_missing(value):
                continue
            known = number(value)
            if known is None:
                values[NUMBERS[field][0]] = str(value)
            elif known not in self._missing.get(field, ()):
                if field == "speed" and time_us is not None and time_us < self._earlier_us:
                    scale = self._earlier_scale  # noqa: PLW2901  -- this row's own unit
                # 1e-6 of any unit here is far below what a sensor resolves.
                values[NUMBERS[field][0]] = known if scale == 1.0 else round(known * scale, 6)
        return make_reading(device, time_us, raw_time, values, self._attributes(record))

    def _time(self, record: Record[str, object]) -> tuple[int | None, object]:
        raw = record.get(self._column["t"])
        if is_missing(raw):
            return None, None
        return self.times(raw), raw

    def _attributes(self, record: Record[str, object]) -> dict[str, object]:
        found: dict[str, object] = {}
        for name in self._attrs:
            value = record.get(name)
            if is_missing(value):
                continue
            if name in self._missing and number(value) in self._missing[name]:
                continue
            found[name] = value
        return found

    def _trip(self, row_number: int, device: str, record: Record[str, object]) -> Row:
        raw = record.get(self._column["polyline"])
        try:
            points = msgspec.json.decode(raw) if isinstance(raw, str) and raw.strip() else []
        except msgspec.DecodeError:
            points = None
        if not isinstance(points, list):
            return Row(row_number, skipped=SkipReason.BROKEN_LINE)
        if not points:
            return Row(row_number, skipped=SkipReason.EMPTY)
        start_us, raw_time = self._time(record)
        attrs = self._attributes(record)
        step_us = round(self._mapping.step_s * 1e6)
        readings = (
            make_reading(
                device,
                None if start_us is None else start_us + index * step_us,
                raw_time,
                point_values(point),
                attrs,
            )
            for index, point in enumerate(points)
        )
        return Row(row_number, tuple(readings))


def point_values(point: object) -> dict[str, object]:
    """lon, lat and alt_m of a GeoJSON position, as far as it holds them."""
    values: dict[str, object] = {}
    if isinstance(point, list):
        for name, value in zip(("lon", "lat", "alt_m"), point, strict=False):
            if value is not None:
                known = number(value)
                values[name] = str(value) if known is None else known
    return values


def bind(mapping: Mapping, columns: Sequence[str]) -> dict[str, str]:
    """Field to column, among the columns that are there.

    Raises:
        InputError: a field the mapping needs has no column; says what was found and needed.
    """
    bound: dict[str, str] = {}
    for field, choice in mapping.columns.items():
        choices = [choice] if isinstance(choice, str) else choice
        present = next((name for name in choices if name in columns), None)
        if present is not None:
            if columns.count(present) > 1:
                raise InputError(f"there are two columns named {present!r}: rename one")
            bound[field] = present
    needed = ["t"] if "polyline" in mapping.columns else ["t", "lon", "lat"]
    needed += ["polyline"] if "polyline" in mapping.columns else []
    needed += ["device"] if mapping.device is None else []
    lacking = [field for field in needed if field not in bound]
    if lacking:
        raise InputError(_lacking(mapping, lacking, columns), field=lacking[0])
    if "speed" in bound and "speed" not in mapping.units:
        raise InputError(
            f"the unit of column {bound['speed']!r} is not known: "
            "say --unit speed=mps, kmh, mph or kn",
            field="speed",
        )
    return bound


def _lacking(mapping: Mapping, lacking: Sequence[str], columns: Sequence[str]) -> str:
    wanted = []
    for field in lacking:
        choice = mapping.columns.get(field)
        names = [choice] if isinstance(choice, str) else choice
        wanted.append(f"{field} ({FIELDS[field]}{', as ' + ' or '.join(names) if names else ''})")
    found = ", ".join(name or "(unnamed)" for name in columns[:20])
    hint = "--device-column or --device" if lacking == ["device"] else "--column FIELD=COLUMN"
    return f"no column for {', '.join(wanted)}; found: {found[:400]}; name it with {hint}"


def _scale(field: str, unit: str | None) -> float:
    units = NUMBERS[field][1]
    if unit is None:
        return next(iter(units.values()))
    if unit not in units:
        raise InputError(f"{field} has no unit {unit!r}: one of {', '.join(units)}", field="unit")
    return units[unit]


def _earlier(earlier: EarlierUnit | None) -> tuple[float, float]:
    if earlier is None:
        return -math.inf, 1.0
    until_us = TimeParser(["iso"])(earlier.until)
    if until_us is None:
        raise InputError(f"{earlier.until!r} is no ISO 8601 time", field="earlier_speed_unit")
    return until_us, _scale("speed", earlier.unit)


def is_missing(value: object) -> bool:
    """Whether a cell holds nothing: absent, blank, or a word for it (`-`, `NA`, `null`, ...)."""
    if isinstance(value, str):
        # Most cells are longer than any such word; the test keeps them off the slow path.
        return (len(value) < 5 and value.strip().lower() in _NO_VALUE) or value.isspace()
    return value is None


def number(value: object) -> float | None:
    """A finite number, or None; `1_000`, `inf` and `nan` are text."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value if math.isfinite(value) else None
    if not isinstance(value, str) or "_" in value:
        return None
    try:
        known = float(value)
    except ValueError:
        return None
    return known if math.isfinite(known) else None
